"""Writes the tables of docs/speed.md from the measurements in docs/benchmarks.

    python tools/bench/_bench_speed_tables.py

A table stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->``; what stands there is replaced.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "scaling"))
import _scaling_tables as scaling

DOCS = Path(__file__).parents[2] / "docs"
TABLES: dict[str, Callable[[Path], str]] = {
    "training": lambda folder: training(folder),
    "decoding": lambda folder: decoding(folder),
    "compiling": scaling.compiling,
    "around a step": scaling.around,
    "starts": scaling.starts,
}


def main() -> None:
    page = DOCS / "speed.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), DOCS / "benchmarks"), encoding="utf-8")


def filled(text: str, folder: Path) -> str:
    """``text`` with every table made anew from the files in ``folder``."""
    for name, table in TABLES.items():
        block = f"<!-- {name} -->\n{table(folder)}\n<!-- end of {name} -->"
        text, found = re.subn(rf"<!-- {name} -->\n.*?<!-- end of {name} -->", lambda _: block, text, flags=re.DOTALL)  # noqa: B023
        if found != 1:
            raise ValueError(f"the page has {found} places for the table {name!r}; it must have one")
    return text


def training(folder: Path) -> str:
    """Every system of every file ``train_*.json``."""
    lines = [
        "| model | device | type | dropout | | a step | least to greatest | tokens/s | share of `jnp.dot` | ours is faster by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("train_*.json")):
        result = _read(path)
        for system in ("flan_jax", "torch", "torch_compile", "t5x"):
            if system not in result:
                continue
            measured, factor = result[system], result["faster_than"].get(system)
            times = measured["step_s"]
            cells = (
                result["model"], _device(result), result["dtype"], str(result["config"]["dropout_rate"] or "none"),
                system, _seconds(times["median"]),
                f"{_seconds(times['least'])} to {_seconds(times['greatest'])}", f"{measured['useful_tokens_per_s']:,.0f}",
                f"{measured['matmul_share']:.0%}", "–" if factor is None else f"{factor:.2f} ×",
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else scaling.NOT_YET


def decoding(folder: Path) -> str:
    """Every system and number of prompts of every file ``decode_*.json``."""
    lines = [
        "| model | device | type | prompts | | prompt and first token | a token | tokens/s | of what memory allows | ours is faster by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("decode_*.json")):
        result = _read(path)
        for batch, of_batch in result["batches"].items():
            for system in ("flan_jax", "torch_dynamic", "torch_static"):
                if system not in of_batch:
                    continue
                measured, factor = of_batch[system], of_batch["faster_than"].get(system)
                cells = (
                    result["model"], _device(result), result["dtype"], batch, system,
                    _seconds(measured["prefill_s"]["median"]), _seconds(measured["token_s"]),
                    f"{measured['tokens_per_s']:,.0f}", f"{measured['bound_share']:.0%}",
                    "–" if factor is None else f"{factor:.2f} ×",
                )  # fmt: skip
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else scaling.NOT_YET


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _device(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return f"{machine['cores']} cores, {machine['cpu']}" if machine["device"] == "cpu" else machine["device"]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


if __name__ == "__main__":
    main()
