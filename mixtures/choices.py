"""Records that offer a few choices and number the right one."""

from collections.abc import Sequence
from typing import Any

from flan_jax.tasks.fields import label
from mixtures.questions import choice_slots


def chosen(choices: Sequence[str], given: Any) -> dict[str, Any] | None:
    """The slots ``choices`` and ``answer`` (and ``others``) of a record whose label counts its choices from 0.

    Args:
        choices: in the record's order.
        given: the label: an integer or its decimal text; -1 or ``""`` where there is none.

    Returns:
        The slots; ``None`` without a label, or where all choices read the same, so that none can be right.

    Raises:
        UserError: the label counts no choice.

    >>> chosen(("a cup", "a cap"), "1")
    {'choices': ('a cup', 'a cap'), 'answer': 'a cap', 'others': 'a cup'}
    """
    place = None if given == "" else label(given, tuple(map(str, range(len(choices)))))
    if place is None or len(set(choices)) < 2:
        return None
    return choice_slots(choices, int(place))
