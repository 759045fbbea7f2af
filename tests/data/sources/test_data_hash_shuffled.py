"""Data sets that are published sorted by their labels: every part has every label."""

import collections
import json

import pytest

from flan_jax.data.sources.hash_shuffled import HashShuffledSlice
from flan_jax.data.sources.published import SOURCE_DIR_VARIABLE, published
from flan_jax.errors import UserError
from flan_jax.testing.records import good_records

SORTED = [{"text": f"text {n}", "label": int(n >= 1000)} for n in range(2000)]


@pytest.fixture
def local(tmp_path, monkeypatch):
    monkeypatch.setenv(SOURCE_DIR_VARIABLE, str(tmp_path))
    folder = tmp_path / "tweets"
    folder.mkdir()

    def write(split="train", rows=tuple(SORTED)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        return folder / f"{split}.jsonl"

    return write


def tweets(**changed):
    given = {"train": "train[:-200]", "validation": "train[-200:]", "folders": ("tweets",), "hash_shuffled": True}
    return published("someone/tweets", **{**given, **changed})


def labels(records):
    return collections.Counter(record["label"] for record in records)


def test_prefix_and_tail_of_a_sorted_file_have_every_label(local):
    local()
    source = tweets(train_limit=300)
    train, validation = list(source.records("train")), list(source.records("validation"))
    assert (len(train), len(validation)) == (300, 200)
    assert min(labels(train).values()) > 100
    assert min(labels(validation).values()) > 60
    whole = [*tweets().records("train"), *validation]
    assert sorted(whole, key=SORTED.index) == SORTED
    assert [record for record in SORTED if record in train] == train  # the file's order
    assert set(labels(tweets(hash_shuffled=False, train_limit=300).records("train"))) == {0}  # what it is for


def test_a_file_of_its_own_validates_where_there_is_one(local):
    local()
    local("validation", SORTED[500:1500])
    source = tweets(validation="validation")
    assert len(list(source.records("train"))) == 2000
    assert min(labels(source.records("validation")).values()) > 60


def test_a_bad_row_is_told_of_in_its_own_part_only(local):
    bad = 7
    path = local(rows=[*SORTED[:bad], "{", *SORTED[bad:]])
    source = tweets(train_limit=2000)
    told = {split: [] for split in source.splits}
    kept = {split: list(good_records(source, split, told[split])) for split in source.splits}
    assert sum(map(len, kept.values())) == 2000
    assert sum(map(len, told.values())) == 1
    (where,) = [split for split, errors in told.items() if errors]
    assert f"{path}, line {bad + 1}" in str(told[where][0])
    with pytest.raises(UserError, match=f"line {bad + 1}"):
        list(source.records(where))
    other = next(split for split in source.splits if split != where)
    assert list(source.records(other)) == kept[other]


def test_records_know_their_lines(local):
    local()
    source = tweets()
    for split in source.splits:
        records = list(source.records(split))
        for index in (0, len(records) - 1):
            assert source.place(split, index).endswith(f"line {SORTED.index(records[index]) + 1}")


def test_the_hub_is_read_in_the_same_way(monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.delenv(SOURCE_DIR_VARIABLE, raising=False)
    asked = []

    def load_dataset(path, *, name=None, data_dir=None, split, revision):
        asked.append(split)
        return datasets.Dataset.from_list(SORTED)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = tweets(train_limit=300)
    train, validation = list(source.records("train")), list(source.records("validation"))
    assert asked == ["train", "train"]
    assert (len(train), len(validation)) == (300, 200)
    assert min(*labels(train).values(), *labels(validation).values()) > 60
    assert not {record["text"] for record in train} & {record["text"] for record in validation}
    assert source.fingerprint("train") != tweets(hash_shuffled=False, train_limit=300).fingerprint("train")
    assert source.fingerprint("train") != source.fingerprint("validation")


def test_the_order_is_fixed():
    assert list(HashShuffledSlice("tweets")(6)) == list(HashShuffledSlice("tweets")(6))
    assert list(HashShuffledSlice("tweets")(50)) != list(HashShuffledSlice("reviews")(50))
    assert sorted(HashShuffledSlice("tweets", stop=-5, limit=10)(50)) != list(range(10))
