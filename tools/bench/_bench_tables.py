"""Writes the tables of docs/data.md from the measurements in docs/benchmarks.

    python tools/bench/_bench_tables.py

A table stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->``; what stands there is replaced.
"""

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
_NOT_YET = "Not measured yet; the commands under [How to reproduce](#how-to-reproduce) do."
_PROFILE_LINES = 6


def main() -> None:
    page = DOCS / "data.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), DOCS / "benchmarks"), encoding="utf-8")


def filled(text: str, folder: Path) -> str:
    """``text`` with every table made anew from the files in ``folder``."""
    for name, table in {"feeding": feeding, "rows": rows, "profile": profile, "preparing": preparing}.items():
        block = f"<!-- {name} -->\n{table(folder)}\n<!-- end of {name} -->"
        text, found = re.subn(rf"<!-- {name} -->\n.*?<!-- end of {name} -->", lambda _: block, text, flags=re.DOTALL)  # noqa: B023
        if found != 1:
            raise ValueError(f"the page has {found} places for the table {name!r}; it must have one")
    return text


def feeding(folder: Path) -> str:
    """Ours and the peer, for every number of tasks measured."""
    results = sorted(map(_read, folder.glob("data_[0-9]*.json")), key=lambda result: int(result["tasks"]))
    if not results:
        return _NOT_YET
    lines = [
        "| tasks | | first batch | memory | tokens/s, one core | tokens/s, all cores | padding | position | saved in | restored in |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for system in ("flan_jax", "seqio"):
            if system not in result:
                continue
            measured = result[system]
            padding = measured["padding"] and f"{measured['padding']['both']:.1%}"
            cells = (
                f"{result['tasks']:,}",
                system,
                _first_batch(measured),
                _bytes(measured["peak_mb"], 1e6),
                _rate(measured["tokens_per_s_core"]),
                _rate(measured["tokens_per_s"]),
                padding or "–",
                _bytes(measured["position_bytes"], 1),
                _seconds(measured["position_save_s"]),
                _seconds(measured["restore_s"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    last = results[-1]
    lines += ["", f"{_conditions(last)} {_of_the_feed(last)}"]
    far = last["flan_jax"]["seek_s"]
    if far is not None:
        lines[-1] += f" The batch of step 1,000,000 came {_seconds(far)} after `seek`, over {last['tasks']:,} tasks."
    if len(results) > 1:
        lines[-1] += f" {_kept(results[0], last)}"
    links = ", ".join(f"[{result['tasks']:,} tasks](benchmarks/data_{result['tasks']}.json)" for result in results)
    return "\n".join([*lines, f"Everything that was measured: {links}."])


def _first_batch(measured: dict[str, Any]) -> str:
    """Its seconds, or the time limit at which it had not come."""
    limits = [once["all_cores"].get("timed_out_after_s") for once in measured["repeats"]]
    if measured["first_batch_s"] is None and any(limits):
        return f"> {max(limit for limit in limits if limit):.0f} s"
    return _seconds(measured["first_batch_s"])


def _kept(few: dict[str, Any], many: dict[str, Any]) -> str:
    """What is left of the rate of one core when there are many tasks."""
    left = [
        f"{many[name]['tokens_per_s_core'] / few[name]['tokens_per_s_core']:.0%} ({name})"
        for name in ("flan_jax", "seqio")
        if all(name in result and result[name]["tokens_per_s_core"] for result in (few, many))
    ]
    return f"On one core, {many['tasks']:,} tasks run at {' and '.join(left)} of the rate of {few['tasks']:,}."


def _of_the_feed(result: dict[str, Any]) -> str:
    examples, lengths = result["examples_per_task"], result["lengths"]
    most = f"at most {examples} examples a task" if examples else "as many examples a task as there are"
    return (
        f"Batches of {result['batch_size']} rows of {lengths['inputs']} + {lengths['targets']} tokens, {most}; "
        f"throughput over {result['seconds']:g} s; medians of "
        + ", ".join(f"{len(result[name]['repeats'])} ({name})" for name in ("flan_jax", "seqio") if name in result)
        + "."
    )


def rows(folder: Path) -> str:
    """Rows of the stream against rows offline."""
    path = folder / "packing.json"
    if not path.exists():
        return _NOT_YET
    result = _read(path)
    lines = [
        "| data | row | examples drawn | rows an example | offline | ours / offline | unsorted / offline | padding |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in result["results"]:
        cells = (
            found["data"],
            f"{found['inputs']} + {found['targets']}",
            f"{found['draws']:,}",
            f"{found['rows_per_example']:.4f}",
            f"{found['offline_rows_per_example']:.4f}",
            f"{found['ratio']:.4f}",
            f"{found['offline_unsorted_rows'] / found['offline_rows']:.4f}",
            f"{found['padding']['both']:.1%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Everything that was measured: [packing.json](benchmarks/packing.json)."])


def profile(folder: Path) -> str:
    """The functions that take most, until the first batch and after it."""
    path = folder / "profile.json"
    if not path.exists():
        return _NOT_YET
    result = _read(path)
    lines = []
    for phase, title in (("first_batch", "until the first batch, callees counted"), ("steady", "then, own time")):
        lines += [f"| {title} | share |", "|---|---|"]
        costs = result["profile"][phase]["whole" if phase == "first_batch" else "own"]
        if phase == "first_batch":  # of functions that do little but call the next, the innermost
            costs = [one for one, after in zip(costs, [*costs[1:], None], strict=True) if _steps_down(one, after)]
        lines += [f"| `{cost['function']}` | {cost['share']:.0%} |" for cost in costs[:_PROFILE_LINES]]
        lines.append("")
    return "\n".join([*lines, f"{result['tasks']:,} tasks, under cProfile. {_conditions(result)}"])


def _steps_down(cost: dict[str, Any], after: dict[str, Any] | None) -> bool:
    return after is None or after["share"] < 0.9 * cost["share"]


def preparing(folder: Path) -> str:
    """Where the measurement of ``flan-jax prepare`` is."""
    if not (folder / "prepare.json").exists():
        return "Preparing: not measured yet."
    return "Preparing: [prepare.json](benchmarks/prepare.json)."


def _conditions(result: dict[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    used = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "numpy", "seqio", "tensorflow") if name in versions
    )
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB; {used}; {result['date']}."


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.2g} ms" if value < 0.1 else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def _bytes(value: float | None, unit: float) -> str:
    if value is None:
        return "–"
    value *= unit
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.0f} bytes"


def _rate(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1e6:.3g} M" if value >= 1e5 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
