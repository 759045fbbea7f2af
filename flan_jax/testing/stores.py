"""Stored tasks whose tokens tell where they come from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flan_jax.store.store import StoredExample, StoredTask, TokenStore


def example_of(task: int, index: int, inputs: int, targets: int) -> StoredExample:
    """Tokens that tell task, example, side and place, so that none can be taken for another."""
    base = 1 + 100_000 * task + 100 * index
    return StoredExample(inputs=base + np.arange(inputs), targets=base + 50 + np.arange(targets), example_id=index)


def stored_tasks(
    folder: Path,
    sizes: Sequence[int],
    *,
    longest: tuple[int, int] = (12, 6),
    shortest: int = 1,
    seed: int = 0,
) -> list[StoredTask]:
    """Stored tasks of given sizes, whose lengths are drawn from a seed.

    Args:
        folder: where the store is made.
        sizes: examples of each task.
        longest: of inputs and of targets, in tokens.
        shortest: of both, in tokens.
        seed: of the lengths.
    """
    store = TokenStore(folder)
    generator = np.random.default_rng(seed)
    tasks = []
    for task, size in enumerate(sizes):
        inputs = generator.integers(shortest, longest[0] + 1, size)
        targets = generator.integers(shortest, longest[1] + 1, size)
        examples = [example_of(task, i, a, b) for i, (a, b) in enumerate(zip(inputs, targets, strict=True))]
        tasks.append(store.write(f"task{task}", "train", f"{task:032x}", examples, {}))
    return tasks
