"""``flan_local``: what lies on a machine, and what does not."""

import json

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.errors import UserError
from flan_jax.mixing.holdout import hold_out_of
from flan_jax.tasks.catalog import TASKS
from mixtures.local import flan_local
from mixtures.rules import RULES

RTE = {"premise": "Ada keeps bees.", "hypothesis": "Ada keeps animals.", "label": 0}
QUAC = {
    "title": "Bees",
    "background": "Bees are insects.",
    "context": "Ada keeps bees. CANNOTANSWER",
    "question": "Who?",
    "orig_answer": {"text": "Ada"},
}
REQUEST = {"instruction": "Greet Ada.", "input": "", "output": "Hello, Ada."}


def write(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "_chosen_source_dir", tmp_path / "copies")
    monkeypatch.setattr(sources, "_chosen_data_dir", tmp_path / "data")
    (tmp_path / "copies").mkdir()
    return tmp_path


def test_it_has_what_is_there(folder):
    for split in ("train", "test"):
        write(folder / "copies" / "rte" / f"{split}.jsonl", RTE)
        write(folder / "copies" / "conversational_qa" / "quac" / f"{split}.jsonl", QUAC)
    write(folder / "data" / "instructions" / "requests.jsonl", REQUEST)
    mixture = flan_local()
    assert {task.name for task in mixture.train_tasks} == {"rte_zs_opt", "quac_zs_opt", "requests_zs_opt"}
    assert [suite.name for suite in mixture.suites] == ["held_in"]
    held_out = hold_out_of(mixture, ("entailment",), RULES)
    assert {task.name for task in held_out.train_tasks} == {"quac_zs_opt", "requests_zs_opt"}


def test_what_is_no_file_of_records_is_passed_over_and_names_stay_apart(folder):
    data = folder / "data" / "instructions"
    for name in ("rte.jsonl", "notes.jsonl", "notes/train.jsonl", ".cache/x.jsonl"):
        write(data / name, REQUEST)
    (data / "README.md").write_text("Read me.")
    (data / ".DS_Store").write_bytes(b"\0")
    for split in ("train", "test"):
        write(folder / "copies" / "rte" / f"{split}.jsonl", RTE)
    names = [task.name for task in flan_local().train_tasks]
    assert names == ["rte_zs_opt", "notes_zs_opt", "notes_2_zs_opt", "rte_2_zs_opt"]


def test_it_says_where_it_looked(folder):
    (folder / "data").mkdir()
    with pytest.raises(UserError, match=r"finds nothing: SOURCE_DIR is .*copies.* has no superni/, flan_cot/"):
        flan_local()


def test_a_data_folder_that_is_not_there_is_not_an_empty_one(folder):
    with pytest.raises(UserError, match=r"DATA_DIR .*data' is not a folder"):
        flan_local()


def test_a_data_set_of_dialogues_is_known_by_its_name():
    assert "quac" in TASKS.get("quac").source.origins()
