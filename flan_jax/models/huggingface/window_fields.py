"""Sliding windows in a ``config.json``: which layers of a family have one."""

from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import FieldPart, FieldReader

_KINDS = {"sliding_attention": True, "full_attention": False}
_NAMES = {local: name for name, local in _KINDS.items()}


def read_windows(given: FieldReader, default: Callable[[int], bool]) -> dict[str, Any]:
    """Reads the window and its pattern; without ``layer_types`` the family's default applies.

    Args:
        given: the file.
        default: tells whether a layer has the window.
    """
    depth, types, window = given.required("num_hidden_layers"), given["layer_types"], given["sliding_window"]
    if types is None:
        local = [default(layer) for layer in range(depth)]
    else:
        for kind in types:
            if kind not in _KINDS:
                raise unknown("layer type in config.json", str(kind), _KINDS)
        if len(types) != depth:
            raise UserError(f"config.json: layer_types names {len(types)} layers of {depth}.")
        local = [_KINDS[kind] for kind in types]
    if not any(local) or window is None:
        return {"sliding_window": None}
    return {"sliding_window": window, "window_pattern": shortest_pattern(local)}


def shortest_pattern(local: Sequence[bool]) -> tuple[bool, ...]:
    """Returns the shortest cycle that gives these layers.

    >>> shortest_pattern([True, False, True, False, True])
    (True, False)
    """
    for length in range(1, len(local) + 1):
        if all(local[i] == local[i % length] for i in range(len(local))):
            return tuple(local[:length])
    return (True,)


def layer_types(config: DecoderConfig) -> list[str]:
    """Returns the names of all layers' kinds."""
    return [_NAMES[local] for local in config.local_layers]


def _write_late(config: DecoderConfig) -> dict[str, Any]:
    local = config.local_layers
    return {
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        "max_window_layers": local.index(True) if any(local) else len(local),
        "layer_types": layer_types(config),
    }


def _read_late(given: FieldReader) -> dict[str, Any]:
    first = given["max_window_layers"]
    read = read_windows(given, lambda layer: layer >= (28 if first is None else first))
    return read if given["use_sliding_window"] else {"sliding_window": None}


def _read_five_of_six(given: FieldReader) -> dict[str, Any]:
    cycle = given["sliding_window_pattern"] or 6
    return read_windows(given, lambda layer: bool((layer + 1) % cycle))


def _write_five_of_six(config: DecoderConfig) -> dict[str, Any]:
    written: dict[str, Any] = {"sliding_window": config.sliding_window or 4096, "layer_types": layer_types(config)}
    pattern = config.window_pattern
    if config.sliding_window and pattern == (*(True,) * (len(pattern) - 1), False):
        written["sliding_window_pattern"] = len(pattern)  # all that transformers before 4.53 understands
    return written


EVERY_WINDOW = FieldPart(
    lambda given: {"sliding_window": given["sliding_window"]}, lambda config: {"sliding_window": config.sliding_window}
)
"""In all layers or in none (Mistral)."""
LATE_WINDOWS = FieldPart(_read_late, _write_late)
"""From a layer on (Qwen)."""
ALTERNATE_WINDOWS = FieldPart(
    lambda given: read_windows(given, lambda layer: layer % 2 == 0),
    lambda config: {"sliding_window": config.sliding_window or 4096, "layer_types": layer_types(config)},
)
"""In every other layer (Gemma 2)."""
FIVE_OF_SIX_WINDOWS = FieldPart(_read_five_of_six, _write_five_of_six)
"""In five of six layers (Gemma 3)."""
