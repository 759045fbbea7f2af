"""A small mixture that studies vary: three clusters, the last two in a mixture of their own."""

from collections.abc import Iterator

import pytest

from flan_jax.experiments.config import RunConfig
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Equal
from flan_jax.studies.fits.threads import one_thread
from flan_jax.studies.space import Space
from flan_jax.tasks.source import Source
from flan_jax.tasks.spec import Prompted, TaskSpec, Template
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Fits of a few runs, whose threads of linear algebra wait for each other for seconds where several tests run at once."""
    with one_thread():
        yield


class Unread(Source):
    """A source that is only named."""

    splits = ("train", "test")

    def read(self, split):
        raise AssertionError("planning a study must not read records")

    def fingerprint(self, split):
        return "0"

    def describe(self):
        return "nothing"


def prompted(name: str, cluster: str) -> Prompted:
    templates = (Template("Is this good? {text}"), Template("{text} Good?"), Template("{text}"))
    return Prompted(TaskSpec(name, cluster, Unread(), dict, templates, ("text", "answer"), options=("yes", "no")))


@pytest.fixture(scope="session")
def space() -> Space:
    """``a`` and ``b`` of the cluster ``one``, ``c`` of ``two``, ``d`` of ``three``; c and d share the rate 1."""
    inner = Mixture("inner", (Entry(prompted("c", "two"), 1.0), Entry(prompted("d", "three"), 3.0)), Equal())
    entries = (Entry(prompted("a", "one"), 1.0), Entry(prompted("b", "one"), 2.0), Entry(inner, 1.0))
    return Space(Mixture("m", entries, Equal()))


@pytest.fixture(scope="session")
def base() -> RunConfig:
    return RunConfig.from_options(
        model_dir="runs/base",
        mixture="m",
        lengths={"inputs": 16, "targets": 8},
        model=tiny_t5(),
        steps=100,
        batch_size=4,
        optimizer=OptimizerConfig(schedule="linear", final_fraction=0.1),
    )
