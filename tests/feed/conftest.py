from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from flan_jax.store.store import StoredTask
from flan_jax.testing.stores import stored_tasks


@pytest.fixture
def make_tasks(tmp_path: Path) -> Callable[..., list[StoredTask]]:
    """Stored tasks of given sizes, whose lengths are drawn from a seed."""

    def make(sizes: Sequence[int], *, folder: str = "store", **lengths: Any) -> list[StoredTask]:
        return stored_tasks(tmp_path / folder, sizes, **lengths)

    return make
