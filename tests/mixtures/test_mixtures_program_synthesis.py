"""Program synthesis: the columns of published data sets, a user's own folder, and its part in Flan 2022."""

import json

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.sources import base as sources
from flan_jax.data.sources.base import set_data_dir
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import MIXTURES, get_mixture
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render_stream
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.records import without_errors
from mixtures.flan2022 import mixture as flan2022


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(sources.DATA_DIR_VARIABLE, raising=False)
    set_data_dir(tmp_path)
    yield tmp_path / "program_synthesis"
    set_data_dir(None)


def write(path, *records):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    return path


def own(**record):
    return TASKS.get("program_synthesis").fields(record)


@pytest.mark.parametrize("problem", ["problem", "text", "prompt", "question"])
@pytest.mark.parametrize("solution", ["solution", "code", "canonical_solution", "completion"])
def test_problems_and_solutions_go_by_many_names(problem, solution):
    found = own(**{problem: "\nAdd up. ", solution: "x = 1\nprint(x)\n", "other": None})
    assert found == {"problem": "Add up.", "solution": "x = 1\nprint(x)"}


def test_a_solution_keeps_its_indentation_and_nothing_else():
    body = "    if x:  \r\n        return {1: [x]}\r\n\r\n    return '%s {0}'\r\n"
    assert own(prompt="p", completion=body)["solution"] == "    if x:\n        return {1: [x]}\n\n    return '%s {0}'"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"problem": "p"}, "no 'solution' or 'code' or 'canonical_solution' or 'completion'"),
        ({"problem": "p", "code": ["x"]}, "'solution' must be a text, not list"),
        ({"problem": "p", "code": " \n\t"}, "'solution' is empty"),
        ({"problem": None, "code": "x"}, "no 'problem' or 'text'"),
    ],
)
def test_what_is_no_program_is_refused(record, message):
    with pytest.raises(UserError, match=message):
        own(**record)


def test_mbpp_shows_its_tests_one_a_line():
    record = {"text": "Add.", "code": "def f(): pass\r\n", "test_list": ["assert f() is None", "assert not f()"]}
    found = TASKS.get("mbpp").fields(record)
    assert found == {"problem": "Add.", "tests": "assert f() is None\nassert not f()", "solution": "def f(): pass"}
    sanitized = {"prompt": "Add.", **{key: record[key] for key in ("code", "test_list")}}
    assert TASKS.get("mbpp").fields(sanitized) == found


def test_every_file_of_the_folder_is_read_in_order(folder):
    spec = TASKS.get("program_synthesis")
    write(folder / "b.jsonl", {"text": "third", "code": "3"})
    path = write(folder / "a.jsonl", {"problem": "first", "solution": "1"}, {"question": "second", "code": "2"})
    write(folder / "validation.jsonl", {"prompt": "held", "completion": "4"})
    assert spec.source.splits == ("train", "validation")
    assert [spec.fields(record)["problem"] for record in spec.source.records("train")] == ["first", "second", "third"]
    assert [spec.source.count(split) for split in spec.source.splits] == [3, 1]
    assert spec.source.place("train", 1) == f"{path}, line 2"
    assert spec.source.place("train", 2) == f"{folder / 'b.jsonl'}, line 1"
    before = spec.source.fingerprint("train")
    write(folder / "validation.jsonl", {"prompt": "other", "completion": "4"})
    assert spec.source.fingerprint("train") == before
    path.write_bytes(path.read_bytes() + b"{}\n")
    assert spec.source.fingerprint("train") != before
    told = []
    kept = [example.example_id for example in without_errors(render_stream(Prompted(spec), "train"), told)]
    assert kept == [0, 1, 3]
    assert str(told[0]).startswith(f"{path}, line 3: Task 'program_synthesis', record 2: the record has no 'problem'")
    with pytest.raises(UserError, match="has no split 'test'"):
        list(spec.source.records("test"))


def test_a_folder_that_is_not_there_is_named_when_it_is_read(folder):
    spec = TASKS.get("program_synthesis")
    assert not spec.source.exists()
    assert spec.source.splits == ("train",)
    assert spec.source.count("train") is None
    with pytest.raises(UserError, match=r"folder 'program_synthesis'.*does not exist"):
        list(spec.source.records("train"))


def test_own_programs_are_mixed_in_where_there_are_any(folder):
    assert {task.spec.name for task in get_mixture("program_synthesis_submix").train_tasks} == {"mbpp"}
    write(folder / "a.jsonl", {"problem": "first", "solution": "1"})
    mixture = get_mixture("program_synthesis_submix")
    assert {task.spec.name for task in mixture.train_tasks} == {"mbpp", "program_synthesis"}
    assert {entry.task.name: entry.rate for entry in mixture.entries} == {
        "program_synthesis_zsopt": 1.0,
        "program_synthesis_fsopt": 1.0,
    }
    assert {**flan2022.PUBLIC_CODE, "program_synthesis": flan2022.PUBLIC_CODE["dialog"]} == flan2022.WITH_PROGRAMS
    assert "flan2022_with_programs" in MIXTURES
