"""Every test runs on eight simulated CPU devices; set before anything imports jax."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deep import DEEP
from hypothesis import settings
from one_process import pytest_xdist_make_scheduler  # noqa: F401  (a hook)

DEVICES = 8
_COUNT_FLAG = "--xla_force_host_platform_device_count"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if _COUNT_FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_COUNT_FLAG}={DEVICES}".strip()

# Many runs compile the same step: once a session is enough, for the processes that run the tests (they inherit this)
# and for those that tests start.
_CACHE = "JAX_COMPILATION_CACHE_DIR"
_own_cache = None
if _CACHE not in os.environ:
    _own_cache = os.environ[_CACHE] = tempfile.mkdtemp(prefix="flan_jax_compiled_")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

# Tracing makes millions of objects that live on: to look at them all for circles, again and again, is a fifth of its time.
gc.set_threshold(100_000, 20, 100)

# No deadline: the first example of a property pays for a compilation. Derandomised: a red run is red again.
settings.register_profile("flan_jax", deadline=None, derandomize=True)
settings.register_profile("deep", deadline=None, max_examples=1000)
settings.load_profile("deep" if DEEP else "flan_jax")


def pytest_unconfigure() -> None:
    """What was compiled for this session goes with it."""
    if _own_cache is not None:
        shutil.rmtree(_own_cache, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left alone with them at the end."""
    folders = ("repo", "experiments", "train", "eval", "models")
    items.sort(key=lambda item: next((place for place, name in enumerate(folders) if name in item.path.parts), 9))


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end, so no collection of garbage need look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> None:
    """Nothing a test verifies or fetches is noted in the home of whoever runs it."""
    os.environ["FLAN_JAX_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def one_device() -> dict[str, str]:
    """The environment of a process that a test starts: it compiles as this one does, for one device, as users have it."""
    flags = (flag for flag in os.environ["XLA_FLAGS"].split() if not flag.startswith(_COUNT_FLAG))
    return {**os.environ, "XLA_FLAGS": " ".join(flags)}


@pytest.fixture(autouse=True)
def chosen_folders() -> Iterator[None]:
    """Where data are looked for is a choice of the process: what a test chose, no later one finds."""
    from flan_jax.data.sources import base as sources
    from flan_jax.data.sources import published

    chosen = sources._chosen_data_dir, published._chosen_source_dir
    yield
    sources._chosen_data_dir, published._chosen_source_dir = chosen


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of published data sets; the test is skipped where there is none."""
    return _folder_of("FLAN_JAX_REALDATA", "the folder of published data sets")


@pytest.fixture(scope="session")
def realweights() -> Path:
    """The Hugging Face folder of a published model; the test is skipped where there is none."""
    return _folder_of("FLAN_JAX_REALWEIGHTS", "the folder that `make real-weights` makes")


def _folder_of(variable: str, what: str) -> Path:
    folder = os.environ.get(variable, "")
    if not folder:
        pytest.skip(f"{variable} is not set: it names {what}")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"{variable} names {folder!r}, which is not a folder")
    return path
