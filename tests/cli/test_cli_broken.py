"""Broken records through the command line: one sentence with the place, exit code 2, nothing half-written."""

import json
import subprocess
import sys

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.store.store import TokenStore

LENGTHS = ("--vocabulary", "bytes", "--inputs", "400", "--targets", "40")
BAD = {
    "half_a_pair": b'{"premise": "a \\ud800", "hypothesis": "b", "label": 0}',
    "nul": b'{"premise": "a \\u0000", "hypothesis": "b", "label": 0}',
    "latin_1": b'{"premise": "caf\xe9", "hypothesis": "b", "label": 0}',
    "null": b'{"premise": null, "hypothesis": "b", "label": 0}',
    "label": b'{"premise": "a", "hypothesis": "b", "label": "' + b"perhaps " * 100_000 + b'"}',
    "number": b'{"premise": ' + b"9" * 6000 + b', "hypothesis": "b", "label": 0}',
    "deep": b'{"premise": ' + b"[" * 100_000 + b', "hypothesis": "b", "label": 0}',
    "injection": b'{"premise": "a", "hypothesis": "b", "label": "{x.__class__.__mro__}"}',
}


@pytest.fixture(autouse=True)
def no_folders(monkeypatch):
    monkeypatch.delenv(published.SOURCE_DIR_VARIABLE, raising=False)
    monkeypatch.delenv(sources.DATA_DIR_VARIABLE, raising=False)
    yield
    published.set_source_dir(None)
    sources.set_data_dir(None)


def entailment(path, bad=b"", at=3):
    lines = [
        json.dumps({"premise": f"Cat {i} sat.", "hypothesis": f"Cat {i} was seated.", "label": i % 2}).encode()
        for i in range(8)
    ]
    if bad:
        lines[at] = bad
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.fixture
def rte(tmp_path):
    """A folder of local copies; what is measured is whole."""
    for split in ("train", "validation", "test"):
        entailment(tmp_path / "copies" / "rte" / f"{split}.jsonl")
    return tmp_path / "copies"


def prepare_rte(rte, store, *extra):
    return ("prepare", "--mixture", "rte", "--source_dir", str(rte), "--store", str(store), *LENGTHS, *extra)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("bad", BAD)
def test_prepare_stops_and_inspect_stops_at_the_same_place(refused, rte, tmp_path, bad):
    path = entailment(rte / "rte" / "train.jsonl", BAD[bad])
    for said in (
        refused(*prepare_rte(rte, tmp_path / "store")),
        refused("inspect", "rte", "--source_dir", str(rte), "-n", "8"),
    ):
        assert f"{path}, line 4" in said
        assert len(said) < 1000
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("bad", ["half_a_pair", "latin_1", "label"])
def test_a_store_that_is_there_stays_as_it_is(refused, cli, rte, tmp_path, bad):
    store = tmp_path / "store"
    assert cli(*prepare_rte(rte, store)).code == 0
    before = files(store)
    entailment(rte / "rte" / "train.jsonl", BAD[bad])
    refused(*prepare_rte(rte, store, "--processes", "2"))
    after = files(store)
    # The splits that are whole may have been written meanwhile: they are as they were.
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name not in before]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_skipped_is_counted_and_the_report_shows_its_place(cli, rte, tmp_path, bad):
    whole = cli(*prepare_rte(rte, tmp_path / "whole", "--json"))
    path = entailment(rte / "rte" / "train.jsonl", BAD[bad])
    outcome = cli(*prepare_rte(rte, tmp_path / "store", "--on_error", "skip"))
    assert outcome.code == 0
    assert "Left out because they cannot be read or rendered: 1 records." in outcome.out
    assert f"{path}, line 4" in outcome.out.partition("The reason:")[2]
    again = json.loads(cli(*prepare_rte(rte, tmp_path / "store", "--on_error", "skip", "--json")).out)
    (train,) = [split for split in again["splits"] if split["split"] == "train"]
    assert (train["unreadable"], train["examples"], train["skipped"]) == (1, 7, True)
    stored = TokenStore(tmp_path / "store").open("rte_zs_opt", "train")
    (own,) = [split for split in json.loads(whole.out)["splits"] if split["split"] == "train"]
    full = TokenStore(tmp_path / "whole").open("rte_zs_opt", "train", own["fingerprint"])
    assert stored.example_ids.tolist() == [0, 1, 2, 4, 5, 6, 7]
    for position, index in enumerate(stored.example_ids.tolist()):
        assert stored.inputs(position).tolist() == full.inputs(index).tolist()
        assert stored.targets(position).tolist() == full.targets(index).tolist()
        assert stored.template_ids[position] == full.template_ids[index]


@pytest.mark.parametrize("command", ["prepare", "inspect"])
def test_instruction_data_and_task_files_are_named_too(refused, tmp_path, command):
    rest = ("--store", str(tmp_path / "store"), *LENGTHS) if command == "prepare" else ("-n", "9")
    chosen = ("--mixture",) if command == "prepare" else ()
    requests = [json.dumps({"instruction": f"Do {i}.", "input": "", "output": f"Did {i}."}) for i in range(8)]
    requests[5] = '{"instruction": "Do it.", "input": "", "output": "\\u0000"}'
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(requests))
    assert f"{path}, line 6: 'output' holds a NUL" in refused(command, *chosen, str(path), *rest)

    task = {
        "Definition": ["Do it."], "Categories": ["Question Answering"], "Positive Examples": [],
        "Instances": [{"id": str(i), "input": f"in {i}", "output": [f"out {i}"]} for i in range(8)],
    }  # fmt: skip
    task["Instances"][4]["input"] = "\ud800"
    benchmark = tmp_path / "benchmark"
    for folder in ("tasks", "splits/default"):
        (benchmark / folder).mkdir(parents=True)
    (benchmark / "tasks" / "task1_x.json").write_text(json.dumps(task))
    (benchmark / "splits" / "default" / "train_tasks.txt").write_text("task1_x\n")
    (benchmark / "splits" / "default" / "test_tasks.txt").write_text("")
    said = refused(command, *chosen, str(benchmark), *rest)
    assert f"{benchmark / 'tasks' / 'task1_x.json'}, Instances[4]: 'input' is not valid Unicode" in said

    reasons = tmp_path / "flan_cot" / "gsm8k_train.tsv"
    reasons.parent.mkdir()
    reasons.write_bytes(b"".join(b"q %d\ta\tso.%s\n" % (i, b"\tmore" if i == 2 else b"") for i in range(8)))
    said = refused(command, *chosen, "cot_gsm8k", "--data_dir", str(tmp_path), *rest)
    assert f"{reasons}, line 3: 4 column(s) instead of 3" in said


def test_in_a_process_of_its_own(rte, tmp_path):
    """Exit code, one line on standard error, and nothing on standard output."""
    path = entailment(rte / "rte" / "train.jsonl", BAD["half_a_pair"])
    command = [sys.executable, "-m", "flan_jax.cli.main", *prepare_rte(rte, tmp_path / "store")]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(f"error: {path}, line 4: Task 'rte', record 3: its input is not valid Unicode")


def test_text_that_looks_dangerous_is_shown_as_text(cli, rte):
    hostile = "{answer} {0} {x.__class__.__mro__} %(a)s {{7*7}} {% for %} </s> <pad> <|im_start|>assistant [/red]"
    line = json.dumps({"premise": hostile, "hypothesis": "b \x1b[2J", "label": 0}).encode()
    entailment(rte / "rte" / "train.jsonl", line, at=0)
    common = ("inspect", "rte", "--source_dir", str(rte), "-n", "1", "--vocabulary", "bytes")
    outcome = cli(*common, "--tokens")
    assert outcome.code == 0
    assert hostile in outcome.out
    assert "\x1b" not in outcome.out
    row = json.loads(cli(*common, "--json").out)
    assert hostile in row["inputs"]
    assert not {0, 1} & {*row["tokens"]["inputs"], *row["tokens"]["targets"]}
