"""Questions of a benchmark are looked for in what a run was trained on."""

import pytest

from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import prepare_run
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.suites.benchmark_overlap import label_benchmarks
from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest, benchmark_suite
from flan_jax.experiments.suites.prompts import PromptReader
from flan_jax.mixing.mixture import MIXTURES
from flan_jax.models.t5.config import T5Config
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.benchmarks import write_gsm8k
from flan_jax.testing.tasks import PARITY, toy_mixture
from flan_jax.train.optimizer import OptimizerConfig


@pytest.fixture
def labeled(tmp_path, monkeypatch):
    """Questions → what is said of each, and the notes; of a run on toy tasks, prepared or not."""
    monkeypatch.setitem(MIXTURES._items, "toy_overlap", lambda: toy_mixture("toy_overlap"))

    def make(questions, *, prepared=True, **options):
        folder = write_gsm8k(tmp_path / "gsm8k", test=len(questions))
        config = RunConfig.from_options(
            model_dir=str(tmp_path / "run"), mixture="toy_overlap", lengths={"inputs": 256, "targets": 32},
            model=T5Config(384, 8, 4, 2, 8, 1, 1), optimizer=OptimizerConfig(), steps=1, batch_size=8,
            evaluation=EvalConfig(**options),
        )  # fmt: skip
        if prepared:
            prepare_run(config)
        suite = benchmark_suite(BenchmarkRequest("gsm8k", str(folder), shots=0), PromptReader(ByteVocabulary(), 2048))
        suite.texts["gsm8k_0shot"].update({index: [text] for index, text in enumerate(questions)})
        ((task,),) = (own.tasks for own in label_benchmarks([suite], config))
        return [example.overlap for example in task.examples], task.notes

    return make


def test_questions_that_were_trained_on_are_labeled(labeled):
    trained = next(render_split(Prompted(PARITY), "train", seed=0)).inputs.split("\n")[0]
    assert len(trained.split()) >= 6
    labels, notes = labeled([trained, "A question about seas that nobody has ever put", "Short one"])
    assert labels == ["exact", "clean", "short"]
    assert notes == ()


def test_nobody_looks_where_that_is_not_asked_for(labeled):
    assert labeled(["A question about seas that nobody has put"], overlap_ngram=0) == ([""], ())


def test_training_data_that_are_gone_are_noted(labeled):
    labels, notes = labeled(["A question about seas that nobody has put"], prepared=False)
    assert labels == [""]
    assert notes == ("Nobody looked whether its questions stand in the training data, which were not at hand.",)
