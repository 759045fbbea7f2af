"""Tables of docs/speed.md from docs/benchmarks/scaling.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NOT_YET = "Not measured yet; the commands under [How to reproduce](#how-to-reproduce) do."
_KINDS = ("all-gather", "reduce-scatter", "all-reduce")
_COMPILERS = {"compile": "simulated CPU devices", "compile_tpu": "TPU v5e"}
_STARTS = {"off": "none", "cold": "empty", "warm": "filled"}


def compiling(folder: Path) -> str:
    """Every compilation of the step of 48 layers: seconds, and what one device sends in one step."""
    parts = _parts(folder)
    rows = [
        [_COMPILERS[name], str(step["devices"]), *_step(step)]
        for name in _COMPILERS
        for step in sorted(parts.get(name, {}).get("steps", []), key=lambda step: (step["devices"], step["tensor"]))
    ]
    columns = ["for", "devices", "data × fsdp × tensor", "traced and compiled", "CPU time", "host's memory"]
    return _table([*columns, *(f"{kind}, sent" for kind in (*_KINDS, "others'"))], rows)


def _step(step: Mapping[str, Any]) -> list[str]:
    if "compile_s" not in step:
        reason = "stopped after " + _seconds(step["timed_out_after_s"]) if "timed_out_after_s" in step else "failed"
        return [f"tensor = {step['tensor']}", reason, *["–"] * (len(_KINDS) + 3)]
    cells = [
        " × ".join(str(size) for size in step["mesh"].values()),
        _seconds(step["trace_s"] + step["compile_s"]),
        _seconds(step["process_cpu_s"]),
        _bytes(step["process_peak_gb"] * 1e9),
    ]
    if "collectives" not in step:
        return [*cells, "does not fit", *["–"] * len(_KINDS)]
    sent = {kind: own["wire_bytes"] for kind, own in step["collectives"]["by_kind"].items()}
    others = sum(size for kind, size in sent.items() if kind not in _KINDS)
    return [*cells, *(_bytes(sent.get(kind, 0)) for kind in _KINDS), _bytes(others)]


def around(folder: Path) -> str:
    """Everything beside compilation that has a target."""
    path = folder / "scaling.json"
    found = json.loads(path.read_text(encoding="utf-8"))["targets"] if path.exists() else []
    rows = [
        [
            each["what"],
            each["case"],
            _value(each["value"], each["unit"]),
            _value(each["limit"], each["unit"]),
            _yes(each),
        ]
        for each in found
        if each["part"] not in _COMPILERS
    ]
    return _table(["", "of", "measured", "at most", "met"], rows)


def starts(folder: Path) -> str:
    """The way to the first step of a new run and of continued ones."""
    parts, rows = _parts(folder), []
    new = parts.get("startup")
    if new:
        rows += [["new run", new, cache] for cache in ("off", "cold", "warm")]
    rows += [
        ["continued", case, cache] for case in parts.get("resume", {}).get("cases", []) for cache in ("off", "warm")
    ]
    columns = [
        "",
        "model",
        "cache of programs",
        "settings shown",
        "restoring",
        "first step",
        "CPU time",
        "of it compiling",
    ]
    return _table(columns, [_start(kind, case, cache) for kind, case, cache in rows])


def _start(kind: str, case: Mapping[str, Any], cache: str) -> list[str]:
    own, model = case[cache], Path(case["model"]).stem
    resuming = _seconds(own["resuming_s"]) if "resuming_s" in own else "–"
    shown = [own["settings_s"], own["first_step_s"], own["cpu_s"], own["compile_s"]]
    first, *rest = map(_seconds, shown)
    return [kind, f"`{model}`", _STARTS[cache], first, resuming, *rest]


def _parts(folder: Path) -> dict[str, Any]:
    path = folder / "scaling.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["parts"]) if path.exists() else {}


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return NOT_YET
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---").replace("|--- |", "|---|")


def _yes(target: Mapping[str, Any]) -> str:
    return "yes" if target["met"] else "**no**"


def _value(value: float, unit: str) -> str:
    return _seconds(value) if unit == "s" else f"{value:.1%} {unit}"


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 else f"{value:.1f} s" if value >= 1 else f"{1000 * value:.2f} ms"


def _bytes(size: float) -> str:
    """The size in the unit that fits.

    >>> _bytes(0), _bytes(1.5e9), _bytes(3_200_000)
    ('0', '1.5 GB', '3.2 MB')
    """
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= each:
            return f"{size / each:,.1f} {unit}"
    return f"{size:.0f}"
