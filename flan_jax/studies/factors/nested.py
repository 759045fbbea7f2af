"""A factor with others inside its levels: those that exist for some of its levels only."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

from flan_jax.errors import UserError, unknown
from flan_jax.studies.factors.base import Factor, Level
from flan_jax.studies.space import Space


@dataclasses.dataclass(frozen=True)
class Nested(Factor):
    """The levels of one factor, some of them crossed with factors of their own.

    Attributes:
        outer: whose levels there are; they are not drawn.
        inner: level of the outer factor, as tables show it → the factors inside it; none of them is drawn.
    """

    outer: Factor
    inner: Mapping[str, tuple[Factor, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        for factor in (self.outer, *(one for factors in self.inner.values() for one in factors)):
            if factor.drawn:
                raise UserError(
                    f"Nested holds the factor {factor.label!r}, whose levels are drawn. Put it beside Nested, in study.factors."
                )

    @property
    def label(self) -> str:
        """The outer factor's."""
        return self.outer.label

    @property
    def labels(self) -> tuple[str, ...]:
        """The outer factor's, and those inside it."""
        inside = [label for factors in self.inner.values() for factor in factors for label in factor.labels]
        return tuple(dict.fromkeys((*self.outer.labels, *inside)))

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """Every level of the outer factor with every combination of those inside it."""
        outer = {str(level.shown[self.label]): level for level in self.outer.levels(space, seed, count)}
        for name in self.inner:
            if name not in outer:
                raise unknown(f"level of {self.label!r} in Nested.inner", name, outer)
        return tuple(
            level.beside(inside)
            for name, level in outer.items()
            for inside in crossed([factor.levels(space, seed, count) for factor in self.inner.get(name, ())])
        )


def crossed(levels: Iterable[tuple[Level, ...]]) -> list[Level]:
    """Returns every combination of levels of several factors, the last one changing first.

    Raises:
        UserError: as ``Level.beside``.
    """
    found = []
    for combination in itertools.product(*levels):
        level = Level()
        for one in combination:
            level = level.beside(one)
        found.append(level)
    return found
