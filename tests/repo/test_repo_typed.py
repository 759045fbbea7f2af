"""One check of every field against its annotation."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Literal

import pytest

from flan_jax.errors import UserError
from flan_jax.typed import AnyPath, LocalPath, Positive, Range, Seed, check_fields


@dataclasses.dataclass(frozen=True)
class Part:
    size: int = 1

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class Whole:
    flag: bool = True
    steps: Positive = 1
    seed: Seed = 0
    limit: int | None = None
    rate: Annotated[float, Range(0, below=1)] = 0.0
    kind: Literal["plain", "fancy"] = "plain"
    early: bool | Literal["never"] = False
    names: tuple[str, ...] | None = None
    lengths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    part: Part = dataclasses.field(default_factory=Part)
    folder: LocalPath = ""
    store: AnyPath = ""

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 2**31 - 1, "seed": 2**32 - 1, "limit": -1},
        {"rate": 0, "kind": "fancy", "early": "never", "names": ("a",), "lengths": {"inputs": 3}},
        {"folder": "a b/#1 'x'", "store": "gs://bucket/store"},
        {"folder": "2024-11-21", "store": "x" * 255},
    ],
)
def test_what_an_annotation_allows_is_taken(values):
    found = Whole(**values)
    assert {name: getattr(found, name) for name in values} == values


def test_a_list_becomes_the_tuple_that_is_declared():
    assert Whole(names=["a", "b"]).names == ("a", "b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flag": "false"}, "Whole.flag is 'false'; it must be True or False. Write False without quotes."),
        ({"flag": "maybe"}, "Whole.flag is 'maybe'; it must be True or False."),
        ({"flag": 1}, "Whole.flag is 1; it must be True or False."),
        ({"flag": None}, "Whole.flag is None; it must be True or False."),
        ({"steps": 1.0}, "Whole.steps is 1.0; it must be a whole number of at least 1. Write 1."),
        ({"steps": True}, "Whole.steps is True; it must be a whole number of at least 1."),
        ({"steps": 0}, "Whole.steps is 0; it must be a whole number of at least 1."),
        ({"steps": 10**12}, "Whole.steps is 1000000000000; it must be at most 2,147,483,647."),
        ({"seed": -1}, "Whole.seed is -1; it must be a whole number from 0 to 4,294,967,295."),
        ({"seed": 10**22}, "it must be a whole number from 0 to 4,294,967,295."),
        ({"limit": "3"}, "Whole.limit is '3'; it must be a whole number or None."),
        ({"rate": 1}, "Whole.rate is 1; it must be a finite number of at least 0 and below 1."),
        ({"rate": math.nan}, "Whole.rate is nan; it must be a finite number"),
        ({"rate": math.inf}, "Whole.rate is inf; it must be a finite number"),
        ({"rate": 10**400}, "it must be a finite number"),
        ({"rate": "0.1"}, "Whole.rate is '0.1'; it must be a finite number"),
        ({"kind": "fanzy"}, "Whole.kind is 'fanzy'; it must be one of 'plain', 'fancy'. Did you mean 'fancy'?"),
        ({"kind": 3}, "Whole.kind is 3; it must be one of 'plain', 'fancy'."),
        ({"early": "neverr"}, "it must be True or False or 'never'. Did you mean 'never'?"),
        ({"early": 0}, "Whole.early is 0; it must be True or False or 'never'."),
        ({"names": "a"}, "Whole.names is 'a'; it must be a tuple of texts or None. Write ('a',)."),
        ({"limit": 10**12}, "Whole.limit is 1000000000000; it must be at most 2,147,483,647."),
        ({"names": ("a", 1)}, "it must be a tuple of texts."),
        ({"lengths": 3}, "Whole.lengths is 3; it must be a mapping of names to whole numbers."),
        ({"lengths": {"inputs": 2.5}}, "it must be a mapping of names to whole numbers."),
        ({"part": "x"}, "Whole.part is 'x'; it must be @Part()."),
        ({"part": None}, "Whole.part is None; it must be @Part()."),
        ({"folder": 2024}, "Whole.folder is 2024; it must be a path. Put it in quotes: '2024'."),
        ({"folder": "a\0b"}, "no path may have these here."),
        ({"folder": "a\udcffb"}, "no path may have these here."),
        ({"folder": "a\\b"}, "it must have no backslash"),
        ({"folder": "x" * 256}, "it has a name of 256 bytes, and file systems hold 255 at most"),
        ({"folder": "é" * 128}, "it has a name of 256 bytes"),
        ({"folder": "x/" * 2500}, "it has 5,000 bytes, and a path has at most 4,095"),
        ({"folder": "gs://bucket/run"}, "can be addresses"),
        ({"folder": "file:///run"}, "Write it without 'file://'"),
        ({"store": "file:///run"}, "Write it without 'file://'"),
        ({"folder": "~nobody_here/run"}, "there is no home folder '~nobody_here'"),
    ],
)
def test_everything_else_is_refused_in_a_sentence(values, message):
    with pytest.raises(UserError) as refused:
        Whole(**values)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_value_that_cannot_be_shown_is_still_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**5000):
        with pytest.raises(UserError, match="too large to be shown"):
            Whole(flag=value)
    while deep:  # or freeing it would recurse
        deep = deep.pop()
