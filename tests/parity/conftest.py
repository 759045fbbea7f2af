"""PyTorch computes these tiny models in one thread: several of them wait for one another longer than they compute."""

from collections.abc import Iterator

import pytest
from fewer_devices import fewer_devices

LONGEST = ("decoder", "harness", "card", "harness_guide", "t5", "decoding", "folder", "peft", "round_trip", "t5gemma")
"""Files by the time that they take, most first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_parity_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_device_a_run() -> Iterator[None]:
    """What is trained to be compared needs one device."""
    with fewer_devices(1):
        yield
