"""The base of factors: what a study varies, and the level that one run has of it."""

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flan_jax.errors import UserError
from flan_jax.studies.space import Space
from flan_jax.typed import check_fields


@dataclasses.dataclass(frozen=True)
class Level:
    """The level of one or several factors that a run has.

    Attributes:
        shown: name of a factor → its level, as tables show it.
        options: run options by gin's names.
        weights: unit → share; empty where weights are not varied.
        kept: tasks that are trained on, by the names of their specs; ``None`` for all.
        left_out: parts that are not trained on.
    """

    shown: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    kept: frozenset[str] | None = None
    left_out: tuple[str, ...] = ()

    def beside(self, other: "Level") -> "Level":
        """Returns both levels together: tasks that both keep, what either leaves out.

        Raises:
            UserError: both say the same option, or both give weights.
        """
        twice = next((name for name in self.options if name in other.options), None)
        if twice is not None:
            raise UserError(
                f"Two factors set the option {twice!r}: {_listed(self)} and {_listed(other)}. Leave one of them out."
            )
        if self.weights and other.weights:
            raise UserError(f"Two factors give weights: {_listed(self)} and {_listed(other)}. Leave one of them out.")
        kept = [one.kept for one in (self, other) if one.kept is not None]
        return Level(
            {**self.shown, **other.shown},
            {**self.options, **other.options},
            self.weights or other.weights,
            frozenset.intersection(*kept) if kept else None,
            tuple(dict.fromkeys((*self.left_out, *other.left_out))),
        )


def _listed(level: Level) -> str:
    return ", ".join(map(repr, level.shown))


@dataclasses.dataclass(frozen=True)
class Factor(abc.ABC):
    """Base of factors; each checks its fields against their annotations.

    A factor has either levels, of which a study takes every one, or draws, of which it takes as many as it says.
    """

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The name of the factor among the levels of a run."""

    @property
    def drawn(self) -> bool:
        """True where levels are drawn."""
        return False

    @property
    def labels(self) -> tuple[str, ...]:
        """All names that its levels show."""
        return (self.label,)

    @abc.abstractmethod
    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """Returns its levels in order.

        Args:
            space: the mixture of the base run.
            seed: of the study.
            count: so many, where levels are drawn; the first ones are the same for every count, unless a factor says
                otherwise.

        Raises:
            UserError: it names what is not there, or has no level.
        """


def check_distinct(values: tuple[Any, ...], what: str) -> None:
    """Refuses no values, and a value that is there twice.

    Raises:
        UserError: so it is.
    """
    if not values:
        raise UserError(f"{what} is empty. Give at least one value.")
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise UserError(f"{what} has {value!r} twice. Give each value once.")
