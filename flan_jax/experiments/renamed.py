"""Options that had another name in an earlier version.

What a run wrote down (its manifest, its checkpoints, its ``config.gin``) is read by either name; in anything else that
a user gives, an old name is refused with the new one.
"""

from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, Mapping[str, str]] = {
    "run": {"lesson_steps": "curriculum_steps"},
}
"""Part of a run as gin calls it → its old names → those of today."""
_TASK_COLUMNS = {"lesson": "curriculum"}
_PARTS = {"RunConfig": "run"}


def new_name(part: str, name: str) -> str | None:
    """Returns what an option is called now, or ``None`` where it has the name that it always had.

    >>> new_name("run", "lesson_steps"), new_name("run", "seed")
    ('curriculum_steps', None)
    """
    return RENAMED.get(part, {}).get(name)


def by_new_names(found: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Returns the values of one part of a configuration that was written down, by the names of today.

    Args:
        found: field → value.
        kind: the class whose fields they are.
    """
    part = _PARTS.get(kind.__name__, kind.__name__)
    return {new_name(part, name) or name: value for name, value in found.items()}


def task_table(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns a manifest's table of tasks with the columns of today."""
    return {task: {_TASK_COLUMNS.get(name, name): value for name, value in row.items()} for task, row in found.items()}
