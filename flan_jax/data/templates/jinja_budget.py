"""The budget of rendering a stranger's template (``RenderBudget``), its random draws, and the copy of the record it reads.

The budget counts work and not seconds, so that a template is stopped at the same place on every
machine. What a template draws by chance is a hash of the seed, the template, the record and the
number of the draw.
"""

import collections.abc
import contextvars
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2.utils import Namespace

from flan_jax.errors import UserError
from flan_jax.tasks.render import counter_hash

MAX_WORK = 5_000_000
"""Steps of one rendering at most: items gone through, and blocks of text handled."""
MAX_OUTPUT = 2_000_000
"""Characters of a text that a template makes at most."""
MAX_DEPTH = 64
"""How deeply lists and objects of a record may be nested."""
BLOCK = 32
"""Characters of text that count as one step."""

_HOLDERS = (
    list,
    tuple,
    dict,
    range,
    collections.abc.KeysView,
    collections.abc.ValuesView,
    collections.abc.ItemsView,
)


class Refused(jinja2.TemplateRuntimeError):
    """A template asked for what the sandbox does not give."""


class RenderBudget:
    """The remaining budget of one rendering, and its random draws.

    Args:
        draw: number of the draw → a 64-bit integer.
        given: characters that the template is given to write. A long text may be written out several times, and be
            gone through as often as a short one is.
    """

    def __init__(self, draw: Callable[[int], int], given: int = 0) -> None:
        self.longest = max(MAX_OUTPUT, 4 * given)
        self._left = MAX_WORK + 64 * (given // BLOCK)
        self._draw = draw
        self._drawn = 0

    def spend(self, steps: int) -> None:
        """Takes ``steps`` from the budget.

        Raises:
            Refused: nothing is left.
        """
        self._left -= steps
        if self._left < 0:
            raise Refused(f"it needs more than {MAX_WORK:,} steps")

    def charge(self, value: Any) -> Any:
        """Charges for going through ``value`` once, and returns it."""
        if isinstance(value, str):
            self.spend(1 + len(value) // BLOCK)
        else:
            self._charge_inside(value, 0)
        return value

    def _charge_inside(self, value: Any, depth: int) -> None:
        # What holds the same list twice shows it twice, so what is shared is paid for as often as it is met.
        if callable(value) and not isinstance(value, jinja2.Undefined):
            raise Refused("it shows a function, which has no text of its own")
        if isinstance(value, Namespace):
            value = value._Namespace__attrs  # type: ignore[attr-defined]  # what Jinja keeps its values in
        if isinstance(value, Iterator) and depth:
            raise Refused("it puts a list that is not made yet into another. Add |list")
        if not isinstance(value, _HOLDERS):
            return
        self.spend(1 + len(value))
        if depth > 2 * MAX_DEPTH:
            raise Refused("a value is nested too deeply")
        if isinstance(value, range):
            return
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, str):
                self.spend(len(item) // BLOCK)
            else:
                self._charge_inside(item, depth + 1)

    def text(self, length: int) -> None:
        """Charges for a text of ``length`` characters before it is made."""
        if length > self.longest:
            raise Refused(f"it makes a text of more than {self.longest:,} characters")
        self.spend(1 + length // BLOCK)

    def each(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yields the items and charges for each: a list may grow while it is gone through."""
        for item in items:
            self.spend(1)
            yield item

    def choose(self, items: Any) -> Any:
        """Draws one of ``items``, by the number of this draw."""
        choices = self.charge(items) if isinstance(items, list | tuple | str | range) else list(self.each(items))
        if not choices:
            raise Refused("it draws from an empty list")
        self._drawn += 1
        return choices[self._draw(self._drawn) % len(choices)]


RUN: contextvars.ContextVar[RenderBudget] = contextvars.ContextVar("run")
"""The rendering that is under way."""


def plain(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """Copies ``value`` into plain lists, dictionaries, text and numbers, with ``change`` applied to every text."""
    if depth > MAX_DEPTH:
        raise UserError(f"the record is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, str):
        return change(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, change, depth + 1) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()  # an array
    if isinstance(value, list | tuple):
        return [plain(item, change, depth + 1) for item in value]
    return value if isinstance(value, bool | int | float) else change(str(value))


def draws(seed: int, template: str, record: Mapping[str, Any]) -> Callable[[int], int]:
    """Returns the random function of a rendering: number of the draw → 64 bits of seed, template, record and number."""

    @functools.cache
    def content() -> str:
        text = json.dumps(record, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    return lambda number: counter_hash("draw", seed, template, content(), number)
