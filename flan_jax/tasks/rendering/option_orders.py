"""Orders of a question's options: the published one first, further ones drawn by (seed, task, example), none twice."""

import itertools
import math
from typing import NamedTuple

from flan_jax.errors import UserError
from flan_jax.tasks.hashing import counter_hash

_LISTED = 6
"""Options up to which all orders are listed and sorted by a hash; of more, orders are drawn one after another."""


class OptionOrder(NamedTuple):
    """The order in which a prompt lists its options.

    Attributes:
        number: which of the orders that the example is asked in; 0 is the published one.
        published: of each of the example's scored options, its index in the published order. Options that are
            letters mean another option in each order; those that are scored as they read keep their places.
    """

    number: int
    published: tuple[int, ...]

    def as_text(self) -> str:
        """Returns the text that is kept beside the tokens of an example.

        >>> OptionOrder(1, (2, 0, 1)).as_text()
        '1:2,0,1'
        """
        return f"{self.number}:{','.join(map(str, self.published))}"

    @classmethod
    def from_text(cls, text: str) -> "OptionOrder":
        """Reads what ``as_text`` wrote.

        >>> OptionOrder.from_text("1:2,0,1")
        OptionOrder(number=1, published=(2, 0, 1))
        """
        number, _, indices = text.partition(":")
        return cls(int(number), tuple(map(int, indices.split(","))) if indices else ())


def option_orders(count: int, wanted: int, *, seed: int, task: str, example_id: int) -> list[tuple[int, ...]]:
    """Draws orders of ``count`` options: for each order, the index of the option at each place.

    Args:
        count: options.
        wanted: orders, at least 1.
        seed: of the draw.
        task: the task's name.
        example_id: of the question.

    Raises:
        UserError: more orders than there are.

    >>> option_orders(4, 1, seed=0, task="t", example_id=0)
    [(0, 1, 2, 3)]
    """
    if not 1 <= wanted <= math.factorial(count):
        raise UserError(
            f"{wanted} orders of the options are asked for, but {count} options have 1 to {math.factorial(count)}. "
            "Ask for fewer (--option_orders)."
        )
    published = tuple(range(count))
    if wanted == 1:
        return [published]
    if count <= _LISTED:
        others = list(itertools.permutations(published))[1:]
        others.sort(key=lambda order: counter_hash("option order", seed, task, example_id, order))
        return [published, *others[: wanted - 1]]
    found = {published: None}
    for draw in itertools.count():
        if len(found) == wanted:
            return list(found)
        ranks = [counter_hash("option order", seed, task, example_id, draw, index) for index in published]
        found.setdefault(tuple(sorted(published, key=ranks.__getitem__)))
    raise AssertionError("itertools.count has no end")
