"""The protocol of sources: one stream, its defaults, and the adapter for classes that are no ``Source``."""

import dataclasses
import pickle
from pathlib import Path

import pytest
from task_toys import make

from flan_jax.errors import PlacedError, RecordError, UserError
from flan_jax.tasks.source import PlainSource, Source, as_source


@dataclasses.dataclass(frozen=True)
class Two(Source):
    """The least that a source is."""

    def read(self, split):
        yield 0, {"x": 1}
        yield 1, RecordError("the second is bad")

    def fingerprint(self, split):
        return "two"


class Plain:
    """A third party's, which knows nothing of ``Source``."""

    splits = ("train", "test")

    def records(self, split):
        yield from ({"x": 1}, {"x": 2})

    def fingerprint(self, split):
        return f"plain {split}"

    def describe(self):
        return "plain"


class Telling(Plain):
    """One that answers more than it must."""

    def place(self, split, index):
        return f"row {index}"

    def count(self, split):
        return 2

    def size_hint(self, split):
        return 20

    def origins(self):
        return {"tales"}

    def local(self):
        return None

    def local_names(self):
        return ("tales",)

    def notes(self, split):
        return {"rows": 2}

    def merged(self, split):
        return 3


def answers(source):
    return (
        source.place("train", 0),
        source.count("train"),
        source.is_empty("train"),
        source.size_hint("train"),
        source.origins(),
        source.is_published,
        source.local(),
        source.is_elsewhere,
        source.local_names(),
        source.published_count("train"),
        dict(source.notes("train")),
        source.merged("train"),
    )


NOTHING_KNOWN = ("", None, False, None, frozenset(), False, None, False, (), None, {}, 0)


def test_a_source_of_two_methods_has_the_rest():
    assert (Two().splits, Two().describe()) == (("train",), "Two")
    assert answers(Two()) == NOTHING_KNOWN
    records = Two().records("train")
    assert next(records) == {"x": 1}
    with pytest.raises(RecordError, match="the second is bad"):
        next(records)


def test_a_class_that_is_no_source_is_taken_for_one():
    spec = make(source=Plain())
    source = spec.source
    assert isinstance(source, PlainSource)
    assert dataclasses.replace(spec, name="other").source is source
    assert (source.splits, source.describe(), source.fingerprint("test")) == (("train", "test"), "plain", "plain test")
    assert list(source.read("train")) == [(0, {"x": 1}), (1, {"x": 2})]
    assert answers(source) == NOTHING_KNOWN
    assert list(pickle.loads(pickle.dumps(source)).records("train")) == [{"x": 1}, {"x": 2}]


def test_what_such_a_class_answers_is_its_answer():
    said = ("row 0", 2, False, 20, frozenset({"tales"}), True, None, True, ("tales",), 2, {"rows": 2}, 3)
    assert answers(as_source(Telling(), "Task 'a'")) == said


@dataclasses.dataclass(frozen=True)
class Published(Two):
    """A published data set of so many records, perhaps with a copy here."""

    records_in_all: int | None
    copy: Path | None = None
    is_published = True

    def count(self, split):
        return self.records_in_all

    def local(self):
        return self.copy


def test_what_follows_from_a_count_and_from_a_copy():
    assert [Published(count).is_empty("train") for count in (0, 1, None)] == [True, False, False]
    assert [Published(3).published_count(split) for split in ("train", "test")] == [3, None]
    assert [Published(3, copy).is_elsewhere for copy in (None, Path("here"))] == [True, False]


def test_what_has_not_the_methods_is_refused():
    class Half:
        splits = ("train",)

        def records(self, split):
            yield {}

    with pytest.raises(UserError, match=r"source is Half, which has no records\(\), splits, fingerprint\(\)"):
        as_source(Half(), "Task 'a'")
    with pytest.raises(UserError, match=r"Task 'a': source is str, which has no records\(\), splits"):
        as_source("birds.txt", "Task 'a'")


def test_an_error_without_a_place_is_the_error_alone():
    assert str(PlacedError(lambda: "", UserError("bad"))) == "bad"
    assert str(PlacedError(lambda: "line 3", UserError("bad"))) == "line 3: bad"
    again = pickle.loads(pickle.dumps(PlacedError(lambda: "line 3", UserError("bad"))))
    assert (type(again), str(again)) == (RecordError, "line 3: bad")


@dataclasses.dataclass(frozen=True)
class Chosen(Two):
    """Splits may be a field, and a field without a default may follow it."""

    splits: tuple[str, ...]


def test_splits_may_be_a_field():
    assert Chosen(("test",)).splits == ("test",)
    assert Chosen().splits == ("train",)
