"""What a study's runs read and cost, told before: the numbers that the runs themselves count."""

import pytest

import flan_jax.testing.tasks as toy
import mixtures  # noqa: F401  (registered before the test takes its own away again)
from flan_jax.experiments.batches import make_batches
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.mixing.mixture import MIXTURES, Entry, Mixture, register_mixture
from flan_jax.mixing.policies import Equal
from flan_jax.studies.config import StudyConfig
from flan_jax.studies.describe import describe, totals
from flan_jax.studies.expand import expand, run_config
from flan_jax.studies.factors.values import Seeds, Values
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig


@pytest.fixture
def base(monkeypatch):
    monkeypatch.setattr(MIXTURES, "_items", dict(MIXTURES._items))
    register_mixture(
        "own", lambda: Mixture("own", tuple(Entry(Prompted(spec)) for spec in (toy.PARITY, toy.COPY)), Equal())
    )
    return RunConfig.from_options(
        model_dir="runs/base",
        mixture="own",
        vocabulary="bytes",
        lengths={"inputs": 64, "targets": 16},
        model=tiny_t5(vocab_size=384),
        steps=6,
        batch_size=4,
        optimizer=OptimizerConfig(),
    )


def test_what_is_told_is_what_is_drawn(base, tmp_path):
    study = StudyConfig("s", (Values("steps", (6, 12)), Seeds(2)))
    plans = expand(study, base)
    told = describe(plans, base, tmp_path, tokens_per_second=320.0)
    assert [row.positions for row in told] == [6 * 4 * 80, 6 * 4 * 80, 12 * 4 * 80, 12 * 4 * 80]
    assert [row.seconds for row in told] == [6.0, 6.0, 12.0, 12.0]
    assert [(row.tokens, dict(row.repeats)) for row in told] == [(None, {})] * 4  # nothing is prepared
    assert totals(told) == {"runs": 4, "points": 4, "positions": 36 * 320, "tokens": None, "seconds": 36.0}
    assert not list(tmp_path.iterdir())

    # One store serves all seeds: it is prepared for the first run alone.
    config = run_config(base, plans[0], tmp_path)
    prepare_run(config)
    told = describe(plans, base, tmp_path)
    for row, plan in zip(told, plans, strict=True):
        config = run_config(base, plan, tmp_path)
        data = open_data(config)
        batches = make_batches(config, data.train, data.weights, {})
        drawn = [next(batches) for _ in range(config.steps)]
        real = sum(
            int((batch["encoder_segment_ids"] > 0).sum() + (batch["decoder_segment_ids"] > 0).sum()) for batch in drawn
        )
        assert row.tokens == real
        assert row.repeats == pytest.approx(
            {
                name: share / len(task)
                for (name, share), task in zip(_examples(batches).items(), data.train, strict=True)
            }
        )
        batches.close()
    assert told[2].most_repeated[1] > told[0].most_repeated[1] > 0
    assert totals(told)["tokens"] == sum(row.tokens for row in told)
    assert told[0].as_dict()["most_repeated"] == told[0].most_repeated[0]


def _examples(batches) -> dict[str, int]:
    stats = batches.sampling_stats()
    return dict(zip(stats.names, stats.examples.tolist(), strict=True))
