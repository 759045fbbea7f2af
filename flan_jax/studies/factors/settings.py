"""A factor whose levels set several run options at once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.studies.factors.base import Factor, Level
from flan_jax.studies.factors.values import option_name
from flan_jax.studies.space import Space


@dataclasses.dataclass(frozen=True)
class Settings(Factor):
    """Every one of several settings, each of as many run options as it likes.

    Attributes:
        name: what tables call the factor.
        settings: what tables call a level → its options by gin's names: ``{'untuned': {'steps': 0}}``.
    """

    name: str
    settings: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name:
            raise UserError("Settings.name is empty. Say what the settings are about.")
        if not self.settings:
            raise UserError(f"Settings.settings of {self.name!r} is empty. Give at least one.")

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """One level for each setting."""
        return tuple(
            Level({self.name: shown}, {option_name(option): value for option, value in options.items()})
            for shown, options in self.settings.items()
        )
