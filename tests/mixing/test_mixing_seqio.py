"""Rates of nested mixtures beside seqio's own."""

import functools
import random

import pytest

from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.task import BaseTask

CAP = 3000
SIZES = {"a": 100, "b": 5000, "c": 300, "d": 40_000, "e": 7}

# A description is [name, [[task or description, rate], …]]; a task without a rate has seqio's mixing_rate_num_examples.
BY_HAND = ["outer", [["a", None], [["left", [["a", 1.5], ["b", None]]], 700.0],
                     [["right", [["b", 2.0], ["c", None], [["deep", [["d", None], ["c", 9.0]]], 40.0]]], 80.0]]]  # fmt: skip


def in_seqio_registered(described: list) -> dict[str, dict]:
    """Mixture → its rates and its examples, as seqio has them; its registries are left as they were."""
    import seqio

    prefix = "flan_jax_test_rates_"
    capped = functools.partial(seqio.mixing_rate_num_examples, maximum=CAP)
    feature = seqio.Feature(seqio.ByteVocabulary())
    for name, size in SIZES.items():
        source = seqio.FunctionDataSource(lambda split, shuffle_files: None, ["train"], {"train": size})
        features = {"inputs": feature, "targets": feature}
        seqio.TaskRegistry.add(prefix + name, source, preprocessors=[], output_features=features)
    made = []

    def add(description: list) -> str:
        name, entries = description
        tasks = [
            (prefix + task if isinstance(task, str) else add(task), capped if rate is None else rate)
            for task, rate in entries
        ]
        made.append(prefix + name)
        seqio.MixtureRegistry.add(made[-1], tasks)
        return made[-1]

    found = {}
    for description in described:
        mixture = seqio.MixtureRegistry.get(add(description))
        rates = {task.name.removeprefix(prefix): mixture.get_rate(task) for task in mixture.tasks}
        found[description[0]] = {"rates": rates, "examples": mixture.num_input_examples("train")}
    for name in made:
        seqio.MixtureRegistry.remove(name)
    for name in SIZES:
        seqio.TaskRegistry.remove(prefix + name)
    return found


def at_random(numbers: random.Random, name: str, depth: int = 0) -> list:
    """Any mixture, three levels deep at most, tasks overlapping."""
    tasks = numbers.sample(sorted(SIZES), numbers.randint(1, 3))
    entries: list = [[task, numbers.choice([None, numbers.uniform(0.1, 50)])] for task in tasks]
    for index in range(numbers.randint(0, 2) if depth < 2 else 0):
        inner = at_random(numbers, f"{name}_{index}", depth + 1)
        entries.insert(numbers.randint(0, len(entries)), [inner, numbers.uniform(0.1, 5000)])
    return [name, entries]


DESCRIBED = [BY_HAND, *(at_random(random.Random(seed), f"random_{seed}") for seed in range(30))]


@pytest.fixture(scope="module")
def in_seqio() -> dict[str, dict]:
    return in_seqio_registered(DESCRIBED)


class Named(BaseTask):
    """All that a mixture asks of a task."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cluster = "any"
        self.splits = ("train",)


NAMED = {name: Named(name) for name in SIZES}


def ours(description: list) -> Mixture:
    name, entries = description
    return Mixture(
        name,
        tuple(Entry(NAMED[task] if isinstance(task, str) else ours(task), rate) for task, rate in entries),
        Proportional(cap=CAP),
    )


@pytest.mark.parametrize("description", DESCRIBED, ids=lambda description: description[0])
def test_rates_are_seqio_s(in_seqio, description):
    assert ours(description).rates(SIZES) == pytest.approx(in_seqio[description[0]]["rates"], rel=1e-12)


def test_the_example_worked_by_hand(in_seqio):
    left, right = 1.5 + 3000, 2 + 300 + 40
    expected = {
        "a": 100 + 700 * 1.5 / left,
        "b": 700 * 3000 / left + 80 * 2 / right,
        "c": 80 * (300 + 40 * 9 / 3009) / right,
        "d": 80 * 40 * 3000 / 3009 / right,
    }
    assert in_seqio["outer"]["rates"] == pytest.approx(expected)


def test_a_mixture_is_as_large_as_its_tasks_together(in_seqio):
    """What our policy sees of a nested mixture is what seqio counts: each task once."""
    for description in DESCRIBED:
        outer = Mixture("around", (Entry(ours(description)),), Proportional())
        assert outer.entry_rates(SIZES) == {description[0]: in_seqio[description[0]]["examples"]}
