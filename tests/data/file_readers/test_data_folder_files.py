"""The files of a folder: tasks, splits, shards, and what is not used and why."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from flan_jax.data.file_readers.folder_files import folder_files
from flan_jax.data.file_readers.jsonl_folder import FolderSource
from flan_jax.data.instructions import data_report, instruction_source, mixture_of_path
from flan_jax.data.sources import base as sources
from flan_jax.errors import UserError


def rows(word, count=12):
    return [{"instruction": f"Say {word} {n}.", "input": "", "output": f"{word} {n}"} for n in range(count)]


def write(path, records=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = rows(path.stem) if records is None else records
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def files(folder, *names):
    for name in names:
        write(folder / name)
    return folder


def told(folder):
    """What a folder's files are: task → split → names."""
    found = folder_files(folder)
    return {
        part.name: {split: [str(path.relative_to(folder)) for path in own] for split, own in part.splits.items()}
        for part in found.parts
    }


def unused(folder):
    return {str(one.path.relative_to(folder)): one.reason for one in folder_files(folder).unused}


def outputs(task, split):
    return [record["output"] for record in task.spec.source.records(split)]


def trained_and_measured(folder):
    """The answers that are trained on, and those that a test suite measures."""
    mixture = mixture_of_path(folder)
    trained = [text for entry in mixture.entries for text in outputs(entry.task, "train")]
    tests = [suite for suite in mixture.suites if suite.split == "test"]
    return trained, [text for suite in tests for task in suite.tasks for text in outputs(task, "test")]


def test_shards_as_the_hub_has_them(tmp_path):
    data = tmp_path / "hub/data"
    write(data / "train-00001-of-00002.parquet", rows("b"))
    write(data / "train-00000-of-00002.parquet", rows("a"))
    write(data / "test-00000-of-00001.parquet", rows("TEST"))
    assert told(tmp_path / "hub") == {
        "": {
            "train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
            "test": ["data/test-00000-of-00001.parquet"],
        }
    }
    trained, measured = trained_and_measured(tmp_path / "hub")
    assert measured == [f"TEST {n}" for n in range(12)]
    assert not set(trained) & set(measured)
    source = instruction_source(tmp_path / "hub", max_validation=0)
    assert [r["output"] for r in source.records("train")] == [f"{word} {n}" for word in "ab" for n in range(12)]
    assert source.place("train", 13) == f"{data / 'train-00001-of-00002.parquet'}, record 1"
    (data / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(UserError, match=r"one of 2 files, and 1 of them is not there \(number 0\)"):
        mixture_of_path(tmp_path / "hub")


def test_pairs_of_names_are_one_task_each(tmp_path):
    files(tmp_path, "numbers_train.jsonl", "numbers_test.jsonl", "letters-train.jsonl", "letters-dev.jsonl")
    assert told(tmp_path) == {
        "letters": {"train": ["letters-train.jsonl"], "validation": ["letters-dev.jsonl"]},
        "numbers": {"train": ["numbers_train.jsonl"], "test": ["numbers_test.jsonl"]},
    }
    assert [entry.task.spec.name for entry in mixture_of_path(tmp_path).entries] == ["letters", "numbers"]


def test_published_splits_of_a_kind(tmp_path):
    files(
        tmp_path,
        *(f"data/{split}_{kind}-00000-of-00001.jsonl" for split in ("train", "test") for kind in ("sft", "gen")),
    )
    assert {name: sorted(splits) for name, splits in told(tmp_path).items()} == {
        "gen": ["test", "train"],
        "sft": ["test", "train"],
    }
    trained, measured = trained_and_measured(tmp_path)
    assert len(measured) == 24
    assert not any("test" in text for text in trained)


@pytest.mark.parametrize(
    "name", ["eval", "evaluation", "test", "testing", "holdout", "held_out", "numbers.test", "test-1"]
)
def test_what_is_named_like_a_test_is_measured_and_not_trained_on(tmp_path, name):
    write(tmp_path / "train.jsonl", rows("train"))
    write(tmp_path / f"{name}.jsonl", rows("TEST"))
    trained, measured = trained_and_measured(tmp_path)
    assert measured == [f"TEST {n}" for n in range(12)]
    assert trained
    assert not any("TEST" in text for text in trained)


def test_eval_beside_test_validates(tmp_path):
    files(tmp_path, "train.jsonl", "eval.jsonl", "test.jsonl")
    assert told(tmp_path)[""] == {"train": ["train.jsonl"], "validation": ["eval.jsonl"], "test": ["test.jsonl"]}
    write(tmp_path / "valid.jsonl")
    assert told(tmp_path)[""]["validation"] == ["valid.jsonl"]
    assert unused(tmp_path) == {"eval.jsonl": "test.jsonl and valid.jsonl are what is measured"}


def test_a_name_that_says_two_splits_is_not_used(tmp_path):
    files(tmp_path, "train.jsonl", "test_train.jsonl", "train/test_1.jsonl")
    assert told(tmp_path) == {"": {"train": ["train.jsonl"]}}
    assert unused(tmp_path) == {
        "test_train.jsonl": "its name says two splits at once ('test' and 'train')",
        "train/test_1.jsonl": "its name says 'test', and its folder another split",
    }


def test_words_within_words_are_trained_on(tmp_path):
    files(tmp_path, "latest.jsonl", "protest.jsonl", "contrast.jsonl")
    assert sorted(told(tmp_path)) == ["contrast", "latest", "protest"]
    assert len(mixture_of_path(tmp_path).entries) == 3


def test_folders_of_splits(tmp_path):
    files(tmp_path, "train/part-10.jsonl", "train/part-9.jsonl", "test/part-0.jsonl", "val/en/x.jsonl")
    assert told(tmp_path) == {
        "part": {"train": ["train/part-9.jsonl", "train/part-10.jsonl"], "test": ["test/part-0.jsonl"]},
        "en_x": {"validation": ["val/en/x.jsonl"]},
    }


def test_a_file_without_a_split_beside_its_test_is_what_it_is_held_against(tmp_path):
    files(tmp_path / "a", "numbers.jsonl", "numbers_test.jsonl", "letters.jsonl")
    assert told(tmp_path / "a") == {
        "numbers": {"train": ["numbers.jsonl"], "test": ["numbers_test.jsonl"]},
        "letters": {"train": ["letters.jsonl"]},
    }
    files(tmp_path / "b", "poems.jsonl", "test.jsonl")
    assert told(tmp_path / "b") == {"": {"train": ["poems.jsonl"], "test": ["test.jsonl"]}}


def test_every_file_that_is_not_used_is_listed_with_the_reason(tmp_path):
    files(tmp_path, "train.jsonl", "extra.jsonl", "more/a.jsonl", "more/deep/b.parquet")
    for name in ("notes.txt", "README.md", "LICENSE", ".hidden.jsonl", "rows.xlsx", "dataset_info.json", "pics/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    expected = {
        ".hidden.jsonl": "a hidden file",
        "LICENSE": "a text about the data",
        "README.md": "a text about the data",
        "dataset_info.json": "it describes a data set and holds none of it",
        "extra.jsonl": "its name says no split, and train.jsonl is what is trained on",
        "more": "a sub-folder, with 2 files of records. Name it itself",
        "notes.txt": "its ending '.txt' is none of a file of records",
        "pics": "a sub-folder without a file of records",
        "rows.xlsx": "its ending '.xlsx' is none of a file of records",
    }
    assert unused(tmp_path) == expected
    notes = [f"{tmp_path}: not used: {name}: {reason}" for name, reason in expected.items()]
    assert sorted(mixture_of_path(tmp_path).notes) == sorted(notes)
    assert sorted(data_report(tmp_path).notes) == sorted(notes)


def test_two_files_for_one_split_are_refused(tmp_path):
    files(tmp_path, "train.jsonl", "dev.jsonl", "validation.jsonl")
    with pytest.raises(UserError, match=r"two files for 'validation': dev\.jsonl and validation\.jsonl"):
        folder_files(tmp_path)
    (tmp_path / "dev.jsonl").unlink()
    files(tmp_path, "train.json")
    with pytest.raises(UserError, match="two files for 'train'"):
        folder_files(tmp_path)


def test_a_folder_of_tests_alone_trains_nothing_and_a_named_file_says_so(tmp_path):
    files(tmp_path, "eval.jsonl")
    with pytest.raises(
        UserError, match=r"nothing to train on: the names of its files \(eval\.jsonl\) say validation or test"
    ):
        mixture_of_path(tmp_path)
    assert "nothing to train on" in data_report(tmp_path).refused
    (note,) = mixture_of_path(tmp_path / "eval.jsonl").notes
    assert "its name says 'eval', and it is trained on as it was named itself" in note
    assert not mixture_of_path(write(tmp_path / "train.jsonl")).notes


def test_files_read_one_behind_the_other_have_one_format(tmp_path):
    write(tmp_path / "train-0-of-2.jsonl")
    write(tmp_path / "train-1-of-2.jsonl", [{"inputs": "a", "targets": "b"}])
    with pytest.raises(
        UserError, match=r"train-0-of-2.jsonl has records of the format alpaca, and .*train-1-of-2.jsonl"
    ):
        mixture_of_path(tmp_path)
    (tmp_path / "train-1-of-2.jsonl").unlink()
    (tmp_path / "train-0-of-2.jsonl").rename(tmp_path / "train.jsonl")
    write(tmp_path / "test.jsonl", [{"inputs": "a", "targets": "b"}])
    with pytest.raises(
        UserError, match="its split 'test' has rendered records and its split 'train' instruction records"
    ):
        mixture_of_path(tmp_path)


def test_a_dump_of_tasks_may_lack_some_in_its_test(tmp_path):
    def dump(*tasks):
        return [{"inputs": f"{task} {n}", "targets": "x", "task_name": task} for task in tasks for n in range(6)]

    write(tmp_path / "train.jsonl", dump("a", "b"))
    write(tmp_path / "test.jsonl", dump("b", "c"))
    mixture = mixture_of_path(tmp_path)
    suites = {suite.name: [task.spec.name for task in suite.tasks] for suite in mixture.suites}
    assert suites["test"] == ["b", "c"]
    assert [entry.task.spec.name for entry in mixture.entries] == ["a", "b"]


def test_the_folder_source_reads_the_same_words(tmp_path):
    write(tmp_path / "b_train.jsonl", [{"n": 1}])
    write(tmp_path / "a.jsonl", [{"n": 2}])
    write(tmp_path / "shard-test-1.jsonl", [{"n": 3}])
    write(tmp_path / "dev.jsonl", [{"n": 4}])
    write(tmp_path / "test_train.jsonl", [{"n": 5}])
    source = FolderSource(str(tmp_path))
    assert source.splits == sources.SPLITS
    assert [record["n"] for split in source.splits for record in source.records(split)] == [2, 1, 4, 3]
    assert not FolderSource(str(tmp_path / "none")).exists()


@pytest.mark.parametrize("several", [False, True])
def test_data_sets_that_were_saved(tmp_path, several):
    datasets = pytest.importorskip("datasets")
    train = datasets.Dataset.from_list(rows("train"))
    whole = {"train_sft": train, "test_sft": datasets.Dataset.from_list(rows("TEST"))}
    saved = datasets.DatasetDict(whole) if several else train
    saved.save_to_disk(
        tmp_path / "saved", **({"num_shards": {"train_sft": 2, "test_sft": 1}} if several else {"num_shards": 2})
    )
    trained, measured = trained_and_measured(tmp_path / "saved")
    assert measured == ([f"TEST {n}" for n in range(12)] if several else [])
    validated = [
        text
        for suite in mixture_of_path(tmp_path / "saved").suites
        if suite.name == "held_in"
        for text in outputs(suite.tasks[0], "validation")
    ]
    assert sorted(trained + validated) == sorted(row["output"] for row in rows("train"))
    shard = next((tmp_path / "saved").rglob("data-00001-of-*.arrow"))
    shard.unlink()
    with pytest.raises(UserError, match=r"lacks 'data-00001-of-00002\.arrow', which its state.json lists"):
        mixture_of_path(tmp_path / "saved")


CARD = """---
license: mit
configs:
{configs}
---
# Some data
"""


def card(folder, configs):
    (folder / "README.md").write_text(CARD.format(configs=configs))
    return folder


def test_a_card_says_which_split_a_file_is(tmp_path):
    files(tmp_path, "part_a.jsonl", "part_b.jsonl", "extra.jsonl", "images/one.png")
    card(
        tmp_path,
        "- config_name: default\n  data_files:\n  - split: train\n    path: part_a.jsonl\n"
        "  - split: test\n    path: ['part_b.*']",
    )
    assert told(tmp_path) == {"": {"train": ["part_a.jsonl"], "test": ["part_b.jsonl"]}}
    assert unused(tmp_path) == {
        "extra.jsonl": "README.md gives it to no split",
        "images": "a sub-folder without a file of records",
    }
    trained, measured = trained_and_measured(tmp_path)
    assert set(measured) == {f"part_b {n}" for n in range(12)}
    assert {text.rpartition(" ")[0] for text in trained} == {"part_a"}
    assert FolderSource(str(tmp_path)).splits == ("train", "test")
    assert [Path(file.place).name for file in data_report(tmp_path).files] == ["part_a.jsonl", "part_b.jsonl"]


def test_a_card_decides_against_a_name_and_a_measured_file_is_never_trained_on(tmp_path):
    files(tmp_path, "data/a_test.jsonl", "data/b_train.jsonl", "data/c.jsonl")
    card(
        tmp_path,
        "- config_name: only\n  data_dir: data\n  data_files:\n    train: [a_test.jsonl, c.jsonl]\n"
        "    validation: b_train.jsonl\n    test: c.jsonl",
    )
    assert told(tmp_path) == {
        "": {"train": ["data/a_test.jsonl"], "validation": ["data/b_train.jsonl"], "test": ["data/c.jsonl"]}
    }


def test_of_several_configurations_the_default_one_is_meant_or_each_is_a_task(tmp_path):
    for config in ("main", "socratic"):
        files(tmp_path, f"{config}/train-00000-of-00001.jsonl", f"{config}/test-00000-of-00001.jsonl")
    entries = "\n".join(
        f"- config_name: {config}\n  data_files:\n  - split: train_sft\n    path: {config}/train-*\n"
        f"  - split: test_sft\n    path: {config}/test-*"
        for config in ("main", "socratic")
    )
    card(tmp_path, entries)
    assert list(told(tmp_path)) == ["main_sft", "socratic_sft"]
    assert told(tmp_path)["main_sft"]["test"] == ["main/test-00000-of-00001.jsonl"]
    assert {entry.task.spec.name for entry in mixture_of_path(tmp_path).entries} == {"main_sft", "socratic_sft"}
    card(tmp_path, entries + "\n  default: true")
    assert list(told(tmp_path)) == ["sft"]
    assert "main/train-00000-of-00001.jsonl" in unused(tmp_path)


def test_what_a_card_says_in_vain_is_told(tmp_path):
    files(tmp_path, "train.jsonl", "test.jsonl")
    named = {"": {"train": ["train.jsonl"], "test": ["test.jsonl"]}}
    card(tmp_path, "- config_name: a\n  data_files:\n  - split: train\n    path: ../elsewhere/*.jsonl")
    assert told(tmp_path) == named
    assert unused(tmp_path)["README.md"].startswith("it gives '../elsewhere/*.jsonl' to the split 'train', and no such")
    card(tmp_path, "- config_name: a\n  data_files: '*.jsonl'")  # no word of splits
    assert told(tmp_path) == named
    card(tmp_path, "- [")
    assert told(tmp_path) == named
    assert "cannot be read" in unused(tmp_path)["README.md"]


def test_a_shard_that_a_card_counts_on_is_missed(tmp_path):
    files(tmp_path, "data/sft-00000-of-00002.jsonl")
    card(tmp_path, "- config_name: a\n  data_files:\n  - split: train\n    path: data/sft-*")
    with pytest.raises(UserError, match="one of 2 files, and 1 of them is not there"):
        mixture_of_path(tmp_path)
