"""Orders of a question's options: the published one first, further ones drawn by (seed, task, example), none twice."""

import itertools
import math

from flan_jax.errors import UserError
from flan_jax.tasks.hashing import counter_hash


def option_orders(count: int, wanted: int, *, seed: int, task: str, example_id: int) -> list[tuple[int, ...]]:
    """Draws orders of ``count`` options: for each order, the index of the option at each place.

    Args:
        count: options, at most 6.
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
    published, *others = itertools.permutations(range(count))
    if wanted > 1:
        others.sort(key=lambda order: counter_hash("option order", seed, task, example_id, order))
    return [published, *others[: wanted - 1]]
