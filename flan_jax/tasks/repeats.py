"""Asking each record several times when a task is measured: under several templates, and with its options in several orders."""

import dataclasses
import functools
from collections.abc import Sequence

from flan_jax.errors import UserError
from flan_jax.tasks.hashing import counter_hash


@dataclasses.dataclass(frozen=True, slots=True)
class Repeats:
    """The number of ways in which each record is asked.

    Attributes:
        templates: that each record is asked under; all of a task's that can be scored, where it has fewer. 1 draws one.
        option_orders: orders in which a listing of options is shown, the published one first; all where there are
            fewer. 1 is the published one.
    """

    templates: int = 1
    option_orders: int = 1

    def __post_init__(self) -> None:
        if self.templates < 1 or self.option_orders < 1:
            raise UserError(
                f"Repeats(templates={self.templates}, option_orders={self.option_orders}): each record is asked at least once."
            )

    @property
    def once(self) -> bool:
        """True where each record is asked in one way."""
        return self.templates == 1 and self.option_orders == 1


ONCE = Repeats()
"""Each record is asked once."""


def templates_in_turn(templates: Sequence[int], *, index: int, seed: int, task: str) -> tuple[int, ...]:
    """Puts templates into the order in which record ``index`` takes them; the first ``n`` are a balanced choice.

    A cyclic design: of any ``T`` records in a row from a multiple of ``T`` on, where ``T`` is the number of templates, each
    template is the first of one record, the second of one, and so on. The cycle is drawn anew every ``T`` records, so that
    over all records any two templates meet about equally often. Which records follow plays no part, so the first records
    of a split are balanced too.

    Args:
        templates: all different.
        index: of the record.
        seed: of the draw.
        task: the task's name.

    >>> sorted(templates_in_turn((0, 1, 2), index=5, seed=0, task="t"))
    [0, 1, 2]
    """
    block, place = divmod(index, len(templates))
    cycle = _cycle(tuple(templates), block, seed, task)
    return (*cycle[place:], *cycle[:place])


@functools.lru_cache(maxsize=64)
def _cycle(templates: tuple[int, ...], block: int, seed: int, task: str) -> tuple[int, ...]:
    return tuple(sorted(templates, key=lambda one: counter_hash("template budget", seed, task, block, one)))
