"""Factors of any run option: values in a grid, and seeds."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.mixing.config import check_weights
from flan_jax.studies.factors.base import Factor, Level, check_distinct
from flan_jax.studies.space import Space
from flan_jax.typed import Positive, Seed

_LARGEST_SEED = 2**32 - 1


def option_label(option: str) -> str:
    """Returns the last part of an option's name: ``learning_rate`` of ``OptimizerConfig.learning_rate``."""
    return option.rpartition(".")[2]


def option_name(option: str) -> str:
    """Returns the one name of an option: those of ``run`` go without ``run.``."""
    return option.removeprefix("run.")


@dataclasses.dataclass(frozen=True)
class Values(Factor):
    """Every value of one run option.

    Values of ``weights`` are mixtures that are given rather than drawn: they stand among the weights of a run, divided by
    their sum.

    Attributes:
        option: its name as gin has it: ``max_templates``, ``OptimizerConfig.learning_rate``.
        values: at least one, each once.
        labels_of_values: what tables call each of them; none for the values themselves.
        name: what tables call the factor; ``""`` for the option's last part.
    """

    option: str
    values: tuple[Any, ...]
    labels_of_values: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.option:
            raise UserError("Values.option is empty. Name the run option that is varied.")
        check_distinct(self.values, f"Values.values of {self.option!r}")
        if self.labels_of_values:
            check_distinct(self.labels_of_values, f"Values.labels_of_values of {self.option!r}")
            if len(self.labels_of_values) != len(self.values):
                raise UserError(
                    f"Values.labels_of_values of {self.option!r} has {len(self.labels_of_values)} labels for "
                    f"{len(self.values)} values. Give one for each, or none."
                )

    @property
    def label(self) -> str:
        """The option's last part, or its own name."""
        return self.name or option_label(self.option)

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """One level for each value."""
        shown = self.labels_of_values or self.values
        return tuple(self._level(label, value) for label, value in zip(shown, self.values, strict=True))

    def _level(self, label: Any, value: Any) -> Level:
        name = option_name(self.option)
        if name != "weights" or not isinstance(value, Mapping) or not value:
            return Level({self.label: label}, {name: value})
        check_weights(value, f"Values.values of {self.option!r}")
        whole = math.fsum(value.values())
        return Level({self.label: label}, weights={part: rate / whole for part, rate in value.items()})


@dataclasses.dataclass(frozen=True)
class Seeds(Factor):
    """Seeds of runs, one after another.

    Attributes:
        count: how many.
        first: the least.
    """

    count: Positive
    first: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first + self.count - 1 > _LARGEST_SEED:
            raise UserError(f"Seeds.first={self.first} and Seeds.count={self.count} go beyond {_LARGEST_SEED:,}.")

    @property
    def label(self) -> str:
        """``seed``."""
        return "seed"

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """One level for each seed."""
        return tuple(Level({"seed": one}, {"seed": one}) for one in range(self.first, self.first + self.count))
