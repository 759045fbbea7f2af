"""Invented benchmarks in the published layouts."""

import pytest

from flan_jax.data.benchmarks.benchmark import ReadingChoices
from flan_jax.data.benchmarks.registry import BENCHMARKS
from flan_jax.data.benchmarks.shots import ShotChooser
from flan_jax.testing.benchmarks import write_bbh, write_gsm8k, write_mmlu

WRITERS = {"mmlu": write_mmlu, "mmlu_cot": write_mmlu, "bbh": write_bbh, "bbh_cot": write_bbh, "gsm8k": write_gsm8k}


@pytest.fixture
def folder_of(tmp_path):
    """Name of a benchmark → a folder with its files."""
    return lambda name: WRITERS[name](tmp_path / name)


@pytest.fixture
def read():
    """(name, folder, task, shots, …) → the task as it is read."""

    def make(name, folder, task, shots=None, **choices):
        benchmark = BENCHMARKS.get(name)
        return benchmark.read(folder, task, ReadingChoices(benchmark.shots if shots is None else shots, **choices))

    return make


@pytest.fixture
def prompts():
    """(task, shots, …) → every prompt as text."""

    def make(task, shots, *, order="published", seed=0):
        chooser = ShotChooser(task, shots, order=order, seed=seed)
        return [
            "".join([task.preamble, *(shot.text for shot in chooser(question).shots), question.text])
            for question in task.questions
        ]

    return make
