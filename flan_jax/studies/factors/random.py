"""Factors of any run option whose values are drawn: uniform, uniform in the logarithm, or one of several."""

import dataclasses
import math
from typing import Any

from flan_jax.errors import UserError
from flan_jax.studies.designs.streams import Stream
from flan_jax.studies.factors.base import Factor, Level, check_distinct
from flan_jax.studies.factors.values import option_label, option_name
from flan_jax.studies.space import Space

_DIGITS = 6
"""Significant digits of a drawn number: enough for any question, and the same on every machine."""


@dataclasses.dataclass(frozen=True)
class _Drawn(Factor):
    """Base of the factors of this module.

    Attributes:
        option: the run option as gin has it.
    """

    option: str

    @property
    def label(self) -> str:
        """The option's last part."""
        return option_label(self.option)

    @property
    def drawn(self) -> bool:
        """True."""
        return True

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """Draws ``count`` values, each a function of the seed, the option and its place alone."""
        values = [self._value(Stream(seed, "draw", self.option, place).uniform()) for place in range(count)]
        return tuple(Level({self.label: value}, {option_name(self.option): value}) for value in values)

    def _value(self, uniform: float) -> Any:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class _Interval(_Drawn):
    """Base of intervals.

    Attributes:
        low: the least value.
        high: the largest value.
        whole: draw whole numbers, both ends included.
    """

    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if not self.low < self.high:
            raise UserError(f"{name}.low={self.low:g} of {self.option!r} must be below {name}.high={self.high:g}.")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise UserError(
                f"{name}.whole=True of {self.option!r} draws whole numbers, so low={self.low:g} and high={self.high:g} must be such."
            )

    def _number(self, value: float) -> float | int:
        if self.whole:
            return min(max(math.floor(value), int(self.low)), int(self.high))
        rounded = float(f"{value:.{_DIGITS}g}")
        return min(max(rounded, float(self.low)), float(self.high))


@dataclasses.dataclass(frozen=True)
class Uniform(_Interval):
    """Values drawn evenly from an interval.

    Attributes:
        option: the run option as gin has it.
        low: the least value.
        high: the largest value.
        whole: draw whole numbers, both ends included.
    """

    def _value(self, uniform: float) -> Any:
        return self._number(self.low + uniform * (self.high + self.whole - self.low))


@dataclasses.dataclass(frozen=True)
class LogUniform(_Interval):
    """Values whose logarithm is drawn evenly from an interval.

    Attributes:
        option: the run option as gin has it.
        low: the least value, above 0.
        high: the largest value.
        whole: draw whole numbers, both ends included.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise UserError(f"LogUniform.low={self.low:g} of {self.option!r} must be above 0, as it has a logarithm.")

    def _value(self, uniform: float) -> Any:
        return self._number(self.low * ((self.high + self.whole) / self.low) ** uniform)


@dataclasses.dataclass(frozen=True)
class OneOf(_Drawn):
    """Values drawn from several, each as likely as the others.

    Attributes:
        option: the run option as gin has it.
        values: at least one, each once.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(self.values, f"OneOf.values of {self.option!r}")

    def _value(self, uniform: float) -> Any:
        return self.values[int(uniform * len(self.values))]
