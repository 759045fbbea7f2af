"""PyTorch computes these tiny models in one thread: several of them wait for one another longer than they compute."""

from collections.abc import Iterator

import pytest
from fewer_devices import fewer_devices


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_device_a_run() -> Iterator[None]:
    """What is trained to be compared needs one device."""
    with fewer_devices(1):
        yield
