"""What runs of one configuration have in common is traced and compiled once for all tests that start one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from compiled_once import compiled_once
from fewer_devices import fewer_devices
from small_mini import small_mini

from flan_jax.experiments import data


@pytest.fixture(scope="session", autouse=True)
def traced_once() -> Iterator[None]:
    with compiled_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """What is prepared here is small, and whether workers were started for it hung on how busy the machine was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="module", autouse=True)
def few_devices(request: pytest.FixtureRequest) -> Iterator[None]:
    """A run that names no mesh has one device, or as many as the file says: on eight it is compiled twice as long."""
    with fewer_devices(getattr(request.module, "DEVICES", 1)):
        yield


@pytest.fixture(scope="module", autouse=True)
def few_records() -> Iterator[None]:
    """The embedded world is a small one here: no test looks at more than a few of its records."""
    with small_mini():
        yield


@pytest.fixture(scope="session")
def mini_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the embedded world with 64 and 16 tokens share what is prepared."""
    return tmp_path_factory.mktemp("mini_store")
