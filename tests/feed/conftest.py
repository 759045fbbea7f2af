from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from flan_jax.feed.store import StoredExample, StoredTask, TokenStore


def example_of(task: int, index: int, inputs: int, targets: int) -> StoredExample:
    """Tokens that tell task, example, side and place, so that none can be taken for another."""
    base = 1 + 100_000 * task + 100 * index
    return StoredExample(inputs=base + np.arange(inputs), targets=base + 50 + np.arange(targets), example_id=index)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; the user's is left alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FLAN_JAX_CACHE", str(folder))
    return folder


@pytest.fixture
def make_tasks(tmp_path: Path) -> Callable[..., list[StoredTask]]:
    """Stored tasks of given sizes, whose lengths are drawn from a seed."""

    def make(
        sizes: Sequence[int],
        *,
        longest: tuple[int, int] = (12, 6),
        shortest: int = 1,
        seed: int = 0,
        folder: str = "store",
    ) -> list[StoredTask]:
        store = TokenStore(tmp_path / folder)
        generator = np.random.default_rng(seed)
        tasks = []
        for task, size in enumerate(sizes):
            inputs = generator.integers(shortest, longest[0] + 1, size)
            targets = generator.integers(shortest, longest[1] + 1, size)
            examples = [example_of(task, i, a, b) for i, (a, b) in enumerate(zip(inputs, targets, strict=True))]
            tasks.append(store.write(f"task{task}", "train", f"{task:032x}", examples, {}))
        return tasks

    return make
