"""Several ablations around one baseline, which they share: a study of arms."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.studies.factors.base import Factor, Level
from flan_jax.studies.factors.nested import crossed
from flan_jax.studies.space import Space

ARM = "arm"
"""The factor by which the runs of every arm are known."""
BASELINE = "baseline"
"""Its level of the runs that all arms share."""


@dataclasses.dataclass(frozen=True)
class Arms(Factor):
    """A baseline, which is the base run as it is, and arms, each with factors of its own that are crossed with one another.

    Arms are not crossed with each other: each says what becomes of the baseline where one thing is varied. So that the
    baseline's runs stand among the levels of every arm, ``baseline`` says which level of what is varied they have; a run of
    an arm has the levels of its own factors only.

    Attributes:
        arms: name of an arm → what it varies; none of its factors is drawn.
        baseline: name of a factor → the level that the base run has of it, as tables are to show it.
        common: factors that the baseline and every arm are crossed with, such as ``(@Seeds(),)``; where the levels of an arm
            set what a common factor sets, they stay as they are.
    """

    arms: Mapping[str, tuple[Factor, ...]]
    baseline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    common: tuple[Factor, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.arms:
            raise UserError("Arms.arms is empty. Give at least one arm.")
        for name, factors in self.arms.items():
            if name == BASELINE or not factors:
                raise UserError(
                    f"Arms.arms has the arm {name!r}"
                    + (
                        ", which is the name of the runs that all arms share. Give it another name."
                        if factors
                        else " without factors. Say what it varies, or leave it out."
                    )
                )
        for factor in self._factors():
            if factor.drawn:
                raise UserError(
                    f"Arms holds the factor {factor.label!r}, whose levels are drawn. Put it beside Arms, in study.factors."
                )
        known = [label for factors in self.arms.values() for factor in factors for label in factor.labels]
        for label in self.baseline:
            if label not in known:
                raise unknown("factor in Arms.baseline", label, known)

    def _factors(self) -> tuple[Factor, ...]:
        return (*(factor for factors in self.arms.values() for factor in factors), *self.common)

    @property
    def label(self) -> str:
        """``arm``."""
        return ARM

    @property
    def labels(self) -> tuple[str, ...]:
        """``arm``, and those of all factors inside."""
        return (ARM, *dict.fromkeys(label for factor in self._factors() for label in factor.labels))

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """The baseline's levels, then those of every arm in order."""
        common = [factor.levels(space, seed, count) for factor in self.common]
        found = _beside(Level({ARM: BASELINE, **self.baseline}), common)
        for name, factors in self.arms.items():
            for level in crossed([factor.levels(space, seed, count) for factor in factors]):
                if not self._is_baseline(level):
                    found += _beside(Level({ARM: name}).beside(level), common)
        return tuple(found)

    def _is_baseline(self, level: Level) -> bool:
        """Tells whether a level is the baseline's by its name and changes nothing, as the ``none`` of ``LeaveOneOut``."""
        return level == Level(level.shown) and level.shown.items() <= dict(self.baseline).items()


def _beside(level: Level, common: Sequence[tuple[Level, ...]]) -> list[Level]:
    """A level with every combination of the common ones, but for factors that set what it sets itself."""
    free = [levels for levels in common if not any(one.options.keys() & level.options.keys() for one in levels)]
    return [level.beside(one) for one in crossed(free)]
