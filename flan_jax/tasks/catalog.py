"""The catalogue: named things, each registered once, unknown names answered with neighbours."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from flan_jax.errors import UserError, unknown
from flan_jax.tasks.spec import TaskSpec

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from names to declarations that refuses a second meaning for a name."""

    def __init__(self, kind: str, remedy: str = "") -> None:
        self._kind = kind
        self._remedy = remedy
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        """Registers ``item``.

        Raises:
            UserError: the name is taken by something else.
        """
        if name in self._items and self._items[name] != item:
            raise UserError(f"The {self._kind} {name!r} is registered already. Choose another name.")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """Returns what was registered.

        Raises:
            UserError: unknown name; the message suggests near ones.
        """
        if name not in self._items:
            raise unknown(self._kind, name, self._items, remedy=self._remedy)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._items))

    def __len__(self) -> int:
        return len(self._items)


TASKS: Registry[TaskSpec] = Registry("task", remedy="`flan-jax tasks` lists them.")


def register(spec: TaskSpec) -> TaskSpec:
    """Adds a task to the catalogue and returns it."""
    return TASKS.add(spec.name, spec)
