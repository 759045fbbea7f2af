"""Which runs share a compiled step."""

from typing import Any

import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.mixing.online.odm import OnlineDataMixing
from flan_jax.models.peft.config import TuningConfig
from flan_jax.studies.groups.group_key import check_group, group_key, why_alone
from flan_jax.testing.models import tiny_decoder, tiny_t5
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig

LORA = TuningConfig(lora_rank=2, lora_alpha=4, lora_patterns=("q",))


def run(name: str = "run", **changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "model_dir": name,
        "mixture": "mini",
        "vocabulary": "bytes",
        "lengths": {"inputs": 16, "targets": 8},
        "model": tiny_t5(num_encoder_layers=1, num_decoder_layers=1),
        "optimizer": OptimizerConfig(name="adamw"),
        "steps": 6,
        "batch_size": 8,
    }
    return RunConfig.from_options(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 5},
        {"mixture": "mini_wide"},
        {"weights": {"a": 1.0}},
        {"hold_out": ("nli",)},
        {"max_templates": 2},
        {"optimizer": OptimizerConfig(name="adamw", learning_rate=0.5)},
        {"evaluation": EvalConfig(suites=("held_out",), max_examples=3)},
        {"curriculum_steps": 2},
    ],
)
def test_what_is_data_to_a_step_may_differ(changes):
    assert group_key(run(**changes)) == group_key(run())


@pytest.mark.parametrize(
    "changes",
    [
        {"model": tiny_t5(num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.2)},
        {"model": tiny_decoder()},
        {"optimizer": OptimizerConfig(name="adamw", weight_decay=0.1)},
        {"optimizer": OptimizerConfig(name="adamw", warmup_steps=1)},
        {"steps": 7},
        {"batch_size": 16},
        {"lengths": {"inputs": 16, "targets": 9}},
        {"microbatches": 2},
        {"z_loss": 0.1},
        {"tuning": LORA},
        {"initial_checkpoint": "base"},
        {"log_period": 3},
        {"evaluation": EvalConfig(period=100)},
        {"vocabulary": "other"},
    ],
)
def test_what_a_step_is_compiled_from_may_not(changes):
    assert group_key(run(**changes)) != group_key(run())
    with pytest.raises(UserError, match="cannot be trained together with that in 'run'"):
        check_group([run(), run("another", **changes)])


def test_adapters_share_a_base_and_so_the_seed_that_draws_it():
    assert group_key(run(tuning=LORA, seed=1)) != group_key(run(tuning=LORA, seed=2))
    on_base = [run(tuning=LORA, seed=seed, initial_checkpoint="base") for seed in (1, 2)]
    assert group_key(on_base[0]) == group_key(on_base[1])


def test_runs_that_need_more_than_a_row_are_trained_alone():
    assert why_alone(run()) == ""
    learned = run(weighting=OnlineDataMixing())
    assert "OnlineDataMixing" in why_alone(learned)
    for config in (learned, run(mesh=MeshConfig(fsdp=2))):
        with pytest.raises(UserError, match="cannot be trained with others: "):
            check_group([run(), config])
    with pytest.raises(UserError, match="Two runs of a group have MODEL_DIR 'run'"):
        check_group([run(), run()])
    with pytest.raises(UserError, match="at least one run"):
        check_group([])
