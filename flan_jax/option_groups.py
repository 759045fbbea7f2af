"""The base of groups of a run's options: their class, the mark of what is free, and the options by their names.

Standard library only; every layer may import it. A group stands with those who read it, as ``FeedConfig`` does in
``flan_jax.feed.config``, and is handed to them whole; ``flan_jax.experiments.options`` collects them.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import Field
from typing import Any, TypeVar

from flan_jax.typed import check_fields

FREE = {"free": True}
"""Metadata of an option in which a run may differ from the one that began its folder: a place, a length of stay, what is
reported. Every other option decides the run's numbers, so that another value is another run."""
Group = TypeVar("Group", bound="OptionGroup")


def is_free(option: Field[Any]) -> bool:
    """Tells whether a field is declared ``FREE``."""
    return "free" in option.metadata


@dataclasses.dataclass(frozen=True)
class OptionGroup:
    """Base of the groups whose fields are parameters of gin's ``run``; checks each against its annotation."""

    def __post_init__(self) -> None:
        check_fields(self, "run")

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yields fields that are set and that another one leaves without a reader, each with a sentence that says so."""
        yield from ()


def flat_fields(config: Any) -> Iterator[tuple[Field[Any], Any]]:
    """Yields the fields of a configuration with their values, those of its option groups in the place of the groups."""
    for option in dataclasses.fields(config):
        value = getattr(config, option.name)
        if isinstance(value, OptionGroup):
            yield from flat_fields(value)
        else:
            yield option, value


def group_of(kind: type[Group], values: Mapping[str, Any]) -> Group:
    """Makes a group from those of ``values`` that are its fields."""
    names = [option.name for option in dataclasses.fields(kind)]
    return kind(**{name: values[name] for name in names if name in values})
