"""Options that had another name, or values in other words, in an earlier version.

What a run wrote down (its manifest, its checkpoints, its ``config.gin``) is read by either; in anything else that a user
gives, an old name is refused with the new one. A value whose word means something else today may change under a new
name of its option alone, by which the two are told apart.
"""

from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, Mapping[str, str]] = {
    "run": {"lesson_steps": "curriculum_steps"},
    "T5Config": {"position_heads": "relative_bias_init", "feed_forward": "mlp_activation"},
    "DecoderConfig": {"feed_forward": "mlp_activation"},
}
"""Part of a run as gin calls it → its old names → those of today."""
_ATTENTIONS = {"plain": "dense", "rows": "batch_chunked"}
REWORDED: Mapping[tuple[str, str], Mapping[Any, Any]] = {
    ("T5Config", "attention"): _ATTENTIONS,
    ("DecoderConfig", "attention"): _ATTENTIONS,
    ("pretrained_model", "attention"): _ATTENTIONS,
    # "gelu" was the tanh approximation in decoders, and behind T5's gate.
    ("T5Config", "feed_forward"): {"gated-gelu": "gated-gelu_tanh"},
    ("DecoderConfig", "feed_forward"): {
        "gelu": "gelu_tanh",
        "gelu-exact": "gelu",
        "gated-gelu": "gated-gelu_tanh",
        "gated-gelu-exact": "gated-gelu",
    },
}
"""Part and option, by the name that it had → its old values → those of today."""
_TASK_COLUMNS = {"lesson": "curriculum"}
_PARTS = {"RunConfig": "run"}


def new_name(part: str, name: str) -> str | None:
    """Returns what an option is called now, or ``None`` where it has the name that it always had.

    >>> new_name("run", "lesson_steps"), new_name("run", "seed")
    ('curriculum_steps', None)
    """
    return RENAMED.get(part, {}).get(name)


def new_value(part: str, name: str, value: Any) -> Any:
    """Returns the value of an option, by the name that it was written down with, in the words of today.

    >>> new_value("T5Config", "attention", "plain"), new_value("T5Config", "attention", "auto")
    ('dense', 'auto')
    """
    return REWORDED.get((part, name), {}).get(value, value) if isinstance(value, str) else value


def by_new_names(found: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Returns the values of one part of a configuration that was written down, in the names and words of today.

    Args:
        found: field → value.
        kind: the class whose fields they are.
    """
    part = _PARTS.get(kind.__name__, kind.__name__)
    return {new_name(part, name) or name: new_value(part, name, value) for name, value in found.items()}


def task_table(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns a manifest's table of tasks with the columns of today."""
    return {task: {_TASK_COLUMNS.get(name, name): value for name, value in row.items()} for task, row in found.items()}
