"""What a sweep shows: lines, JSON for programs, and on a terminal one table that is drawn again in its place."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from toy_study import ToyExecutor, toy_plans, toy_study

from flan_jax.cli.sweep_output import JsonLines, LiveTable, PlainLines, SweepOutput
from flan_jax.studies.claims import Claims
from flan_jax.studies.objectives import parse_objective
from flan_jax.studies.runner import sweep


def shown(kind: type[SweepOutput], folder: Path) -> str:
    """What is shown of four runs, of which one fails, in groups of two."""

    def hinder(plan: Any, step: int) -> None:
        if plan.name == "run_0003":
            raise RuntimeError("the device\x1b[31m fell over")

    study = toy_study(folder / "study", toy_plans(4))
    names = [plan.name for plan in study.plans]
    stream = io.StringIO()
    with Claims(study.claims) as claims:
        output = kind(study, claims, names, parse_objective("held_out/choice_probability"), stream)
        executor = ToyExecutor(study, size=2, hinder=hinder)
        sweep(study, executor, listener=output, selected=names, retries=1, claims=claims)
        output.close()
    return stream.getvalue()


def test_lines(tmp_path: Path) -> None:
    lines = shown(PlainLines, tmp_path).splitlines()
    assert lines[0] == "group_0000: run_0000, run_0001; 2 pending, 2 running of 4 runs; ETA ?"
    assert re.fullmatch(
        r"run_0000 done \(share=0\): held_out/choice_probability 0\.\d{4}, held_out 50.0% \[44.0, 56.0\]", lines[1]
    )
    failed = [line for line in lines if " failed: " in line]
    assert [line.partition(" failed: ")[0] for line in failed] == ["run_0002, run_0003", "run_0003"]
    assert r"the device\x1b[31m fell over" in failed[0]
    assert re.match(r"1 failed, 3 done of 4 runs; ETA 0:00", lines[-1])


def test_json(tmp_path: Path) -> None:
    events = [json.loads(line) for line in shown(JsonLines, tmp_path).splitlines()]
    assert events[0] == {"event": "began", "group": "group_0000", "runs": ["run_0000", "run_0001"]}
    ended = {event["run"]: event for event in events if event["event"] == "run"}
    assert {name: event["state"] for name, event in ended.items()} == {
        "run_0000": "done", "run_0001": "done", "run_0002": "done", "run_0003": "failed",
    }  # fmt: skip
    assert ended["run_0002"]["interval"] == [0.44, 0.56]
    assert (ended["run_0003"]["failures"], ended["run_0003"]["objective"]) == (2, None)
    assert events[-1]["states"] == {"failed": 1, "done": 3}
    assert {event["event"] for event in events} == {"began", "progress", "run", "states"}


def on_screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end, which knows how to go up and to erase."""
    lines: list[str] = []
    for part in re.split(r"(\x1b\[\d+F\x1b\[J)", text):
        if up := re.fullmatch(r"\x1b\[(\d+)F\x1b\[J", part):
            assert int(up[1]) <= len(lines)
            del lines[len(lines) - int(up[1]) :]
        else:
            assert part.endswith("\n") or not part
            lines += part.splitlines()
    return lines


@pytest.mark.parametrize("columns", [40, 200])
def test_one_table_stays_on_a_terminal(columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "30")
    lines = on_screen(shown(LiveTable, tmp_path))
    notes = [line for line in lines if " failed: RuntimeError" in line]
    assert len(notes) == 2, "what is said stands above the table"
    table = lines[len(notes) :]
    assert [line.split()[0] for line in table] == ["1", "run", "run_0000", "run_0001", "run_0002", "run_0003"]
    assert all(len(line) < columns for line in table)
    assert "\x1b" not in "".join(lines)
