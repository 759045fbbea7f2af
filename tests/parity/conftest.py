"""PyTorch computes these tiny models in one thread: several of them wait for one another longer than they compute."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
