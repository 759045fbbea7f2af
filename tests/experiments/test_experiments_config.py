"""A run's options: each is one field, documented, known to gin and to what is written down by one name."""

import dataclasses

import pytest

from flan_jax.cli import gin_config
from flan_jax.cli.gin_reader import annotations
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig, run_options
from flan_jax.experiments.data import prepare_config, run_vocabulary
from flan_jax.experiments.mixture import run_mixture
from flan_jax.experiments.options import (
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    FeedConfig,
    MixingConfig,
    StepConfig,
    TokenizeConfig,
)
from flan_jax.experiments.run_folder.run_identity import check_same_config
from flan_jax.experiments.settings_summary import check_schedule
from flan_jax.option_groups import flat_fields
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig

CONFIG = RunConfig.from_options(
    model_dir="runs/a", mixture="mini", lengths={"inputs": 8, "targets": 8}, model=tiny_t5(), steps=1, batch_size=8,
    optimizer=OptimizerConfig(),
)  # fmt: skip
GROUPS = (RunConfig, DataConfig, MixingConfig, TokenizeConfig, FeedConfig, StepConfig, CheckpointConfig, EvalConfig)


def test_gin_knows_every_option_by_its_name():
    names = [option.name for option, _ in run_options()]
    assert len(set(names)) == len(names)
    assert names.count("pack") == names.count("lengths") == 1
    assert set(annotations("flan_jax.run")) == {*names, "vocab_size"}
    assert [option.name for option, _ in flat_fields(CONFIG)] != []
    assert {option.name for option, _ in flat_fields(CONFIG)} == set(names) == set(CONFIG.resolved())


@pytest.mark.parametrize("kind", GROUPS)
def test_every_option_is_documented(kind):
    for option in dataclasses.fields(kind):
        assert f"        {option.name}: " in kind.__doc__, f"{kind.__name__}.{option.name}"


def test_options_are_changed_by_their_names():
    changed = CONFIG.with_options(pack=False, hold_out="rte, cb", seed=3)
    assert (changed.feed.pack, changed.data.hold_out, changed.seed) == (False, ("rte", "cb"), 3)
    assert changed.with_options(pack=True, hold_out=(), seed=0) == CONFIG
    with pytest.raises(TypeError, match="pakc"):
        CONFIG.with_options(pakc=False)


def test_a_free_option_is_no_part_of_what_a_run_is():
    free = {"store": "s", "data_workers": 2, "audit": "warn", "log_period": 7, "evaluation": EvalConfig(max_examples=3)}
    check_same_config(CONFIG.identity(), CONFIG.with_options(**free), "MODEL_DIR holds")
    assert not set(free) & set(CONFIG.identity())
    assert {"pack", "seed", "lengths", "vocabulary", "z_loss"} <= set(CONFIG.identity())


def test_what_gin_resolves_is_what_the_options_say():
    loaded = gin_config.load(["runs/quickstart.gin"], ["run.pack=False", "HOLD_OUT=rte,cb"]).config
    assert (loaded.feed.pack, loaded.data.hold_out) == (False, ("rte", "cb"))
    assert loaded.feed.curriculum_steps == 400


def test_weights_make_another_run_of_the_same_tasks():
    weighted = CONFIG.with_options(weights={"sentiment": 2, "arithmetic": 1}, keep="sentiment,arithmetic")
    with pytest.raises(UserError, match="weights"):
        check_same_config(CONFIG.with_options(keep="sentiment,arithmetic").identity(), weighted, "MODEL_DIR holds")
    turned = weighted.with_options(weights={"arithmetic": 1.0, "sentiment": 2.0})
    check_same_config(weighted.identity(), turned, "MODEL_DIR holds")  # neither order nor 2 for 2.0 is a difference
    own = {task.name: task for task in run_mixture(CONFIG).drawn_tasks}
    drawn = run_mixture(weighted).drawn_tasks
    assert len(drawn) == 7
    assert all(own[task.name] == task for task in drawn)  # so that what is prepared of it stays


def test_runs_of_other_seeds_share_what_is_prepared_where_templates_have_a_seed():
    vocabulary = run_vocabulary(CONFIG, run_mixture(CONFIG))
    seeds = [prepare_config(CONFIG.with_options(seed=seed), vocabulary).seed for seed in (1, 2)]
    shared = [prepare_config(CONFIG.with_options(seed=seed, template_seed=5), vocabulary).seed for seed in (1, 2)]
    assert (seeds, shared) == ([1, 2], [5, 5])


def test_how_suites_are_measured_has_no_reader_where_none_is():
    none = EvalConfig(suites=(), before=True, period=20)
    assert [name for name, _ in none.unread()] == ["period", "before"]
    (first, *_) = check_schedule(CONFIG.with_options(evaluation=none, log_period=10))
    assert first == "EvalConfig.period=20 says how suites are measured, and EvalConfig.suites=() measures none"
    assert list(EvalConfig(before=True).unread()) == list(EvalConfig(suites=()).unread()) == []
