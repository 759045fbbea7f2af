"""Provenance of results: a digest of the weights, and the settings that decide the numbers."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax.eval.examples import EvalTask

Settings = Mapping[str, Any]
"""JSON values by name; ``tasks`` holds those of every task of a suite."""


def params_digest(params: Any) -> str:
    """Hashes parameters to 16 hexadecimal digits: a changed bit of any array changes them.

    Sums of integers on the devices, so the arrays stay where they are, and the mesh makes no difference.

    Args:
        params: nested dict of arrays.
    """
    leaves = jax.tree.leaves_with_path(params)
    sums = jax.device_get(_sums([leaf for _, leaf in leaves]))
    digest = hashlib.sha256()
    for (path, leaf), own in zip(leaves, sums, strict=True):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype} {own.tolist()}\n".encode())
    return digest.hexdigest()[:16]


@jax.jit
def _sums(leaves: list[jax.Array]) -> list[jax.Array]:
    return [_sum(leaf) for leaf in leaves]


def _sum(leaf: jax.Array) -> jax.Array:
    """[2] uint32, of an array's bits and their places."""
    width = jnp.dtype(leaf.dtype).itemsize * 8
    bits = jax.lax.bitcast_convert_type(leaf, jnp.dtype(f"uint{width}")) if width > 1 else leaf
    bits = bits.astype(jnp.uint32)
    place = jnp.zeros(leaf.shape, jnp.uint32)
    for axis, size in enumerate(leaf.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
    # Odd factors: no single change is lost. The second sum mixes (murmur3's finaliser), so that none make up for another.
    linear = bits * (place * jnp.uint32(2) + jnp.uint32(1))
    mixed = (bits ^ (place * jnp.uint32(0x9E3779B9))) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.stack([linear.sum(dtype=jnp.uint32), (mixed ^ (mixed >> 16)).sum(dtype=jnp.uint32)])


def suite_settings(tasks: Sequence[EvalTask], general: Settings) -> dict[str, Any]:
    """Collects the settings that decide the numbers of one suite.

    Args:
        tasks: its tasks.
        general: JSON values that hold for every task: how texts are written, how many examples count.
    """
    return {
        **general,
        "tasks": {
            task.name: {
                "data": task.data,
                "metric": task.metric,
                "predict": task.predict,
                "examples": len(task.examples),
                **({"other_metrics": list(task.other_metrics)} if task.other_metrics else {}),
                **({"asked": dict(task.asked)} if task.asked else {}),
            }
            for task in tasks
        },
    }


def changed_settings(before: Settings | None, after: Settings | None) -> str:
    """Says in a few words what differs between the settings of two results; ``""`` where nothing does."""
    if before == after:
        return ""
    if not before or not after:
        return "one of them does not say its settings"
    lines = []
    for name in dict.fromkeys([*before, *after]):
        if name != "tasks" and before.get(name) != after.get(name):
            lines.append(_difference(name, before.get(name), after.get(name)))
    then, now = before.get("tasks", {}), after.get("tasks", {})
    for word, alone in (("only then", set(then) - set(now)), ("only now", set(now) - set(then))):
        if alone:
            lines.append(f"{_some(sorted(alone))} {word}")
    both = [name for name in then if name in now and then[name] != now[name]]
    for field in ("data", "metric", "predict", "examples", "other_metrics"):
        names = [name for name in both if then[name].get(field) != now[name].get(field)]
        if names and field in ("data", "other_metrics"):
            lines.append(f"{field.replace('_', ' ')} of {_some(names)}")
        elif names:
            lines += [_difference(f"{field} of {names[0]}", then[names[0]].get(field), now[names[0]].get(field))]
    return "; ".join(lines)


def comparable(settings: Settings | None) -> Settings | None:
    """Keeps of a suite's settings what should agree between two runs: not their seeds, lengths and tokenized data."""
    if not settings:
        return settings
    kept = {name: value for name, value in settings.items() if name not in ("seed", "lengths", "tasks")}
    tasks = settings.get("tasks", {})
    return {**kept, "tasks": {name: {**task, "data": ""} for name, task in tasks.items()}}


def _difference(name: str, before: Any, after: Any) -> str:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        inner = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
        return "; ".join(_difference(f"{name}.{key}", before.get(key), after.get(key)) for key in inner)
    return f"{name}: {before!r} → {after!r}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
