"""The line that says what a run is, before its first step."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.run_folder.run_identity import check_same_config
from flan_jax.experiments.settings_summary import check_schedule, main_settings
from flan_jax.models.build import num_params
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, ShardingRules

CONFIG = RunConfig.from_options(
    model_dir="runs/a",
    mixture="mini",
    lengths={"inputs": 8, "targets": 8},
    model=tiny_t5(dropout_rate=0.05),
    optimizer=OptimizerConfig(learning_rate=5e-4),
    steps=1000,
    batch_size=64,
)


def test_dropout_rate_batch_and_steps_are_said():
    assert main_settings(CONFIG) == (
        f"training {num_params(CONFIG.model):,} parameters for 1,000 steps: dropout 0.05, adafactor at 0.0005 (constant), "
        "batches of 64 rows, float32, seed 0"
    )


def test_sharding_rules_are_said_where_they_are_other_ones():
    rules = ShardingRules(vocab=("tensor", "fsdp"), embed=())
    sharded = CONFIG.with_options(mesh=MeshConfig(rules=rules))
    said = "; sharding rules: vocab over tensor × fsdp; embed over no mesh axis"
    assert main_settings(sharded) == main_settings(CONFIG) + said


def test_what_is_frozen_is_not_counted_and_the_warm_up_is_said():
    optimizer = OptimizerConfig(name="adamw", schedule="linear", warmup_steps=20, total_steps=1000)
    tuned = CONFIG.with_options(tuning=TuningConfig(lora_rank=2, lora_patterns=("q",)), optimizer=optimizer)
    kernels = 2 * (tuned.model.num_encoder_layers + 2 * tuned.model.num_decoder_layers)
    trained = kernels * (tuned.model.d_model + tuned.model.d_heads)
    assert main_settings(tuned).startswith(f"training {trained:,} parameters")
    assert "adamw at 0.001 (linear after 20 steps of warm-up)" in main_settings(tuned)


def scheduled(steps: int, **optimizer) -> RunConfig:
    return CONFIG.with_options(steps=steps, optimizer=OptimizerConfig(**optimizer))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_follows_the_run_unless_it_says_where_it_ends(schedule):
    config = scheduled(100, schedule=schedule, warmup_steps=10)
    assert config.optimizer.total_steps == 100
    rate = learning_rate(config.optimizer)
    assert float(rate(100)) == pytest.approx(0, abs=1e-9)
    assert float(rate(99)) > 0
    assert check_schedule(config) == []
    assert scheduled(100, schedule=schedule, total_steps=300).optimizer.total_steps == 300
    assert scheduled(100).optimizer.total_steps == 0  # has no end
    assert scheduled(0, schedule=schedule, warmup_steps=10).steps == 0  # to be measured


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_steps_at_a_rate_of_0_are_refused(schedule):
    with pytest.raises(UserError, match=r"ends at step 60 .* the last 40 would change nothing.*Leave total_steps out"):
        check_schedule(scheduled(100, schedule=schedule, total_steps=60))
    kept = check_schedule(scheduled(100, schedule=schedule, total_steps=60, final_fraction=0.1, learning_rate=0.5))
    assert kept == [
        f"the {schedule} schedule ends at step 60; the steps from there to 100 keep its last learning rate, 0.05"
    ]


@pytest.mark.parametrize(
    ("steps", "optimizer", "curriculum", "said"),
    [
        (50, {"schedule": "linear", "total_steps": 100, "learning_rate": 1.0}, 0, "ends before its linear schedule of 100 steps, at a learning rate of 0.51"),
        (10, {"warmup_steps": 40}, 0, "the warm-up of 40 steps outlasts the run's 10: the learning rate ends at 25%"),
        (10, {"schedule": "rsqrt", "total_steps": 5}, 0, "OptimizerConfig.total_steps=5 is read with schedule='linear' or schedule='cosine' or schedule='wsd' only, and the schedule is 'rsqrt'"),
        (10, {"final_fraction": 0.5}, 0, "OptimizerConfig.final_fraction=0.5 is read"),
        (10, {"name": "adamw", "momentum": 0.5}, 0, "OptimizerConfig.momentum=0.5 is read with name='muon' only, and the name is 'adamw'"),
        (10, {"name": "muon", "decay_rate": 0.5}, 0, "OptimizerConfig.decay_rate=0.5 is read with name='adafactor' only"),
        (10, {"beta2": 0.98}, 0, "OptimizerConfig.beta2=0.98 is read with name='adamw' or name='muon' only"),
        (10, {}, 10, "the curriculum of 10 steps (run.curriculum_steps) takes all of the run's 10"),
    ],
)  # fmt: skip
def test_what_is_odd_is_said(steps, optimizer, curriculum, said):
    notes = check_schedule(scheduled(steps, **optimizer).with_options(curriculum_steps=curriculum))
    assert len(notes) == 1
    assert said in notes[0]


def test_a_warm_up_that_takes_all_steps_of_a_falling_schedule_is_refused():
    with pytest.raises(UserError, match=r"warmup_steps is 10, but the run has 10 steps \(TRAIN_STEPS\)"):
        scheduled(10, schedule="cosine", warmup_steps=10)
    with pytest.raises(UserError, match="has no end"):
        learning_rate(OptimizerConfig(schedule="cosine"))


def test_more_steps_are_another_schedule_or_the_same_run_with_its_own_end():
    first = scheduled(100, schedule="linear", final_fraction=0.1)
    kept = r"falls over 100 steps, and this one's falls over 200: .*OptimizerConfig\.total_steps=100 keeps the schedule"
    with pytest.raises(UserError, match=kept):
        check_same_config(first.identity(), scheduled(200, schedule="linear", final_fraction=0.1), "MODEL_DIR holds")
    longer = scheduled(200, schedule="linear", final_fraction=0.1, total_steps=100)
    check_same_config(first.identity(), longer, "MODEL_DIR holds")
    to_nothing = scheduled(100, schedule="cosine")
    with pytest.raises(UserError, match=r"falls over 100 steps.*TRAIN_STEPS=100 ends it as it was begun"):
        check_same_config(to_nothing.identity(), scheduled(200, schedule="cosine"), "MODEL_DIR holds")
    with pytest.raises(UserError, match=r"OptimizerConfig\.total_steps=100 keeps"):
        check_same_config(to_nothing.identity(), scheduled(50, schedule="cosine"), "MODEL_DIR holds")
    with pytest.raises(UserError, match=r"another run: optimizer\.total_steps: 100 → 200; seed: 0 → 1"):
        check_same_config(
            first.identity(),
            scheduled(200, schedule="linear", final_fraction=0.1).with_options(seed=1),
            "MODEL_DIR holds",
        )
    constant = scheduled(100)
    check_same_config(constant.identity(), constant.with_options(steps=200), "MODEL_DIR holds")


def test_adapters_that_adafactor_would_hardly_move_are_said():
    tuned = scheduled(10, learning_rate=1e-2).with_options(tuning=TuningConfig(lora_rank=2))
    (note,) = check_schedule(tuned)
    assert "about 1e-05" in note
    assert "runs/lora.gin" in note
    grown = optax.apply_updates(
        zero := {"b": jnp.zeros((4, 4))},
        (made := make_optimizer(tuned.optimizer, {"b": ("embed", "mlp")})).update(
            {"b": jnp.full((4, 4), 3.0)}, made.init(zero), zero
        )[0],
    )
    np.testing.assert_allclose(grown["b"], -1e-5, rtol=1e-3)  # as the note says
    assert check_schedule(tuned.with_options(optimizer=OptimizerConfig(name="adamw"))) == []
