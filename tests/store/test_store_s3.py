"""A store in a bucket of a real server: written whole, found, and read through this machine's cache."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from s3_server import s3_bucket

from flan_jax.store.store import StoredExample, TokenStore

FINGERPRINT, PARTS = "a" * 32, {"vocabulary": "v1", "templates": "t1"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as address:
        yield address


def test_a_task_is_written_to_a_bucket_and_read_from_it(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TokenStore(f"{bucket}/store")
    examples = [StoredExample(np.arange(2, 4 + i % 3), np.array([300 + i, 1]), i, 0, (), (f"ü {i}",)) for i in range(7)]
    store.write("task", "train", FINGERPRINT, examples, {"parts": PARTS})
    monkeypatch.setenv("FLAN_JAX_CACHE", str(tmp_path / "of_another_machine"))
    found = TokenStore(f"{bucket}/store").open("task", "train", FINGERPRINT, parts=PARTS)
    assert len(found) == 7
    for place, example in enumerate(examples):
        np.testing.assert_array_equal(found.inputs(place), example.inputs)
    assert list((tmp_path / "of_another_machine" / "files").rglob("*.arrow"))
