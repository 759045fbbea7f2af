"""What is kept to validate on is never trained on, whatever rule divides, and a record that cannot be read has its place."""

import dataclasses

import pytest

from flan_jax.data.collections.cot import COLUMNS, CotFile
from flan_jax.data.sources.base import set_data_dir
from flan_jax.data.sources.hash_shuffled import HashShuffledFile
from flan_jax.data.sources.holdback import HoldbackSplit
from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.sources.published import HeldTail
from flan_jax.errors import RecordError
from flan_jax.tasks.source import Source

COUNT, BAD = 57, (0, 20, 56)


@dataclasses.dataclass(frozen=True)
class Numbers(Source):
    def read(self, split):
        for index in range(COUNT):
            yield index, RecordError(f"number {index}") if index in BAD else {"n": index}

    def fingerprint(self, split):
        return "numbers"

    def place(self, split, index):
        return f"number {index}"


@dataclasses.dataclass(frozen=True)
class EverySeventh(HoldbackSplit):
    whole: Source

    @property
    def splits(self):
        return ("train", "validation")

    def divided(self, split):
        return self.whole, "train"

    def positions(self, split):
        return [n for n in range(COUNT) if (n % 7 == 6) == (split == "validation")]

    def fingerprint(self, split):
        return split


def test_a_record_has_its_position_readable_or_not():
    source = EverySeventh(Numbers())
    for split in source.splits:
        read = list(source.read(split))
        assert [index for index, _ in read] == list(range(len(read)))
        said = [str(record) if isinstance(record, RecordError) else f"number {record['n']}" for _, record in read]
        assert said == [f"number {n}" for n in source.positions(split)]
        assert [source.place(split, index) for index, _ in read] == said
    assert source.describe() == "Numbers"
    assert source.size_hint("train") is None


def test_reading_ends_behind_the_last_position():
    read = []

    class Endless(Numbers):
        def read(self, split):
            for index in range(1000):
                read.append(index)
                yield index, {"n": index}

    assert len(list(EverySeventh(Endless()).read("validation"))) == 8
    assert max(read) < COUNT


@pytest.fixture
def divided(tmp_path):
    """Two sources that are the sides of each rule that divides a file here."""
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join("{\n" if n in BAD else f'{{"n": {n}}}\n' for n in range(COUNT)))
    folder = tmp_path / "flan_cot"
    folder.mkdir()
    rows = ["no columns" if n in BAD else "\t".join(f"{name} {n}" for name in COLUMNS) for n in range(COUNT)]
    (folder / "gsm8k_train.tsv").write_text("".join(f"{row}\n" for row in rows))
    set_data_dir(tmp_path)
    file = jsonl(train=lines)
    tail, cot = HeldTail(file, 200), CotFile("gsm8k")
    hashed = (HashShuffledFile(file, "train", "x", 200, None, validates) for validates in (False, True))
    yield {"tail": (tail, tail), "hashed": tuple(hashed), "cot": (cot, cot)}
    set_data_dir(None)


@pytest.mark.parametrize("rule", ["tail", "hashed", "cot"])
def test_the_sides_of_every_rule_make_up_the_whole(divided, rule):
    train, validation = divided[rule]
    sides = [list(train.positions("train")), list(validation.positions("validation"))]
    assert sorted(sides[0] + sides[1]) == list(range(COUNT))
    assert len(sides[1]) in range(1, COUNT // 10 + 1)
    places = []
    for source, split in ((train, "train"), (validation, "validation")):
        for index, record in source.read(split):
            place = source.place(split, index)
            assert not isinstance(record, RecordError) or place in str(record)
            places.append(int(place.rpartition(" ")[2]))
    assert sorted(places) == list(range(1, COUNT + 1))
