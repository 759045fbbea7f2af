"""Run options by gin's names, put into a base run."""

import pytest

from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.studies.options import gin_lines, with_run_options


def test_options_of_every_part(base):
    found = with_run_options(
        base,
        {
            "seed": 3,
            "run.pack": False,
            "weights": {"one": 1.0},
            "OptimizerConfig.learning_rate": 0.5,
            "OptimizerConfig.warmup_steps": 2,
            "T5Config.d_ff": 48,
            "DecodingConfig.max_length": 7,
        },
    )
    assert (found.seed, found.feed.pack, found.mixing.weights) == (3, False, {"one": 1.0})
    assert (found.optimizer.learning_rate, found.optimizer.warmup_steps) == (0.5, 2)
    assert found.model.d_ff == 48
    assert found.evaluation.decoding == DecodingConfig(max_length=7)
    assert with_run_options(base, {}) == base


def test_a_schedule_that_ends_with_the_run_ends_with_another_run(base):
    assert base.optimizer.total_steps == 100
    assert with_run_options(base, {"steps": 40}).optimizer.total_steps == 40
    both = {"steps": 40, "OptimizerConfig.learning_rate": 0.5}
    assert with_run_options(base, both).optimizer.total_steps == 40
    assert with_run_options(base, {"steps": 40, "OptimizerConfig.total_steps": 60}).optimizer.total_steps == 60


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sed": 3}, "Did you mean 'seed'"),
        ({"OptimizerConfig.learnin_rate": 3}, "Did you mean 'OptimizerConfig.learning_rate'"),
        ({"OptimizerConf.learning_rate": 3}, "Did you mean 'OptimizerConfig.learning_rate'"),
        ({"DecoderConfig.d_model": 3}, "Unknown run option of a study 'DecoderConfig.d_model'"),
        ({"LEARNING_RATE": 3}, "without macros"),
        ({"run.store": "x"}, "into its own folder"),
        ({"model_dir": "x"}, "into its own folder"),
        ({"seed": -1}, "run.seed is -1"),
        ({"OptimizerConfig.learning_rate": "fast"}, "OptimizerConfig.learning_rate is 'fast'"),
    ],
)
def test_options_that_cannot_be(base, options, sentence):
    with pytest.raises(UserError, match=sentence):
        with_run_options(base, options)


def test_options_as_lines_of_gin():
    assert gin_lines({"keep": ("a",), "run.seed": 1, "T5Config.d_ff": 4}) == (
        "run.keep = ('a',)\nrun.seed = 1\nT5Config.d_ff = 4"
    )
