"""The files of a folder: tasks, splits, shards, and what is not used and why."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from flan_jax.data import sources
from flan_jax.data.folder import FolderSource
from flan_jax.data.formats import data_report, instruction_source, mixture_of_path
from flan_jax.data.formats.folders import folder_files
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
