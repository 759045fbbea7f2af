"""The levels of chance that an interval covers, by name: ``example``, ``template``, ``task`` and ``cluster``."""

from collections.abc import Iterable

from flan_jax.errors import UserError, did_you_mean

LEVELS = ("example", "template", "task", "cluster")
"""From the innermost to the outermost. Names of several are joined with ``+`` in this order."""

DEFAULT_LEVELS = "example"
"""The levels of the interval that stands beside a score: these tasks and templates, other examples."""


def join_levels(levels: Iterable[str]) -> str:
    """Names a set of levels.

    >>> join_levels({"task", "example"})
    'example+task'
    """
    return "+".join(sorted(levels, key=LEVELS.index))


def parse_levels(name: str) -> tuple[str, ...]:
    """Reads the name of a set of levels, in any order.

    >>> parse_levels("task+example")
    ('example', 'task')

    Raises:
        UserError: an unknown level, one that stands there twice, or none.
    """
    found = name.split("+")
    for level in found:
        if level not in LEVELS:
            hint = did_you_mean(level, LEVELS)
            raise UserError(
                f"{level!r} is no level of an interval.{hint} Join {', '.join(LEVELS)} with '+', as in example+task."
            )
    if len(set(found)) < len(found):
        raise UserError(f"The levels {name!r} name one of them twice. Write each once.")
    return tuple(sorted(found, key=LEVELS.index))
