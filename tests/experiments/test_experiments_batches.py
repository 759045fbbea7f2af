"""What a run says of its data, and data or weights that change between and during its starts."""

import json
from pathlib import Path

import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.batches import DataChange, reordered_window
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.experiments.train import train
from flan_jax.mixing.mixture import MIXTURES, Dropped, Entry, Mixture, register_mixture
from flan_jax.models.t5.config import T5Config
from flan_jax.tasks.spec import Prompted
from flan_jax.testing import tasks as toys
from flan_jax.train.optimizer import OptimizerConfig

NAME = "toys_under_test"
_declared: list[Mixture] = []


@pytest.fixture(autouse=True)
def declare():
    """Says what the mixture under test holds: (task, rate) pairs."""

    def declare_mixture(*entries, **more):
        made = tuple(Entry(Prompted(spec), rate) for spec, rate in entries)
        _declared[:] = [Mixture(NAME, made, vocabulary="bytes", **more)]

    if NAME not in MIXTURES:
        register_mixture(NAME, lambda: _declared[0])
    declare_mixture((toys.PARITY, 3.0), (toys.COPY, 1.0))
    return declare_mixture


@pytest.fixture
def config(tmp_path) -> RunConfig:
    return RunConfig.from_options(
        model_dir=str(tmp_path / "run"),
        mixture=NAME,
        lengths={"inputs": 64, "targets": 32},
        model=T5Config(
            vocab_size=384, d_model=8, d_kv=4, num_heads=2, d_ff=8, num_encoder_layers=1, num_decoder_layers=1
        ),
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-3),
        steps=4,
        batch_size=8,
        log_period=2,
        store=str(tmp_path / "store"),
        checkpoint=CheckpointConfig(period=2, keep=1),
        evaluation=EvalConfig(suites=()),
    )


def lines(config, name="metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (Path(config.model_dir) / name).read_text(encoding="utf-8").splitlines()]


def manifest(config) -> dict:
    return json.loads((Path(config.model_dir) / "manifest.json").read_text(encoding="utf-8"))


def test_every_line_says_what_was_drawn(config, declare):
    dropped = (*(Dropped(f"gone{place}", "made from it too") for place in range(7)), Dropped("other", "no split"))
    declare((toys.PARITY, 3.0), (toys.COPY, 1.0), dropped=dropped)
    said = []
    result = train(config, log=said.append)
    assert said[0] == (
        "8 tasks of the collection are neither trained on nor measured: gone0, gone1, gone2, gone3, gone4 and 2 more "
        "(made from it too); other (no split)"
    )
    assert manifest(config)["dropped"] == {one.task: one.reason for one in dropped}
    last = lines(config)[-1]["sampled"]
    assert set(last) == {"toy_parity_zs_opt", "toy_copy_zs_opt"}
    assert [row["requested"] for row in last.values()] == [0.75, 0.25]
    assert sum(row["share"] for row in last.values()) == pytest.approx(1)
    assert sum(row["token_share"] for row in last.values()) == pytest.approx(1, abs=1e-5)
    for row in last.values():
        assert row["epochs"] == pytest.approx(row["examples"] / 64, rel=1e-5)
        assert row["tokens"] > row["examples"]
    assert [row["examples"] for row in last.values()] == result.sampling_stats.examples.tolist()
    early = lines(config)[0]["sampled"]
    assert sum(row["tokens"] for row in last.values()) == sum(line["tokens"] for line in lines(config))
    assert sum(row["examples"] for row in early.values()) < result.sampling_stats.examples.sum()
    # Counted again from the saved position.
    assert train(config).sampling_stats.tokens.tolist() == result.sampling_stats.tokens.tolist()


def test_a_run_ends_with_its_data_where_that_is_asked_for(config, capsys):
    said = []
    config = config.with_options(exhausted="drop", steps=500, log_period=3)
    result = train(config, log=said.append)
    assert result.sampling_stats.examples.tolist() == [64, 64]
    assert 5 < result.step < 500
    assert lines(config)[-1]["step"] == result.step
    assert any("the data ended after step" in line for line in said)
    again = train(config)
    assert (again.step, again.sampling_stats.examples.tolist()) == (result.step, [64, 64])
    stopped = train(config.with_options(exhausted="stop", model_dir=config.model_dir + "2"))
    assert stopped.sampling_stats.examples.max() == 64
    assert stopped.sampling_stats.examples.min() < 64


def test_weights_set_in_mid_run_are_logged_saved_and_resumed(config):
    def reweight(step, metrics):
        assert metrics["task_loss"].shape == (2,)
        return {"toy_parity_zs_opt": 0.0, "toy_copy_zs_opt": 1.0} if step == 2 else None

    straight = config.with_options(steps=6)
    whole = train(straight, reweight=reweight)
    assert lines(straight, "weights.jsonl") == [
        {"step": 2, "weights": {"toy_parity_zs_opt": 0.0, "toy_copy_zs_opt": 1.0}}
    ]
    first, *_, last = (line["sampled"] for line in lines(straight))
    assert last["toy_parity_zs_opt"]["examples"] == first["toy_parity_zs_opt"]["examples"]
    assert last["toy_copy_zs_opt"]["examples"] > first["toy_copy_zs_opt"]["examples"]
    assert last["toy_parity_zs_opt"]["requested"] == pytest.approx(last["toy_parity_zs_opt"]["share"], abs=0.1)

    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=4), reweight=reweight)
    resumed = train(broken, reweight=reweight)
    assert resumed.sampling_stats.tokens.tolist() == whole.sampling_stats.tokens.tolist()
    assert [line["loss"] for line in lines(broken)] == [line["loss"] for line in lines(straight)]
    assert lines(broken, "weights.jsonl") == lines(straight, "weights.jsonl")


def test_every_record_counts_the_steps_of_the_run_behind_a_curriculum(config, declare):
    """Weights set in the curriculum and behind it; a checkpoint between them; the run goes on from it."""
    declare((toys.PARITY, 3.0), (toys.COPY, 1.0), curriculum=(("toy_parity_zs_opt", 1.0),))
    shares = {2: (0.5, 0.5), 5: (0.0, 1.0), 7: (0.25, 0.75)}

    def reweight(step, metrics):
        return (
            dict(zip(("toy_parity_zs_opt", "toy_copy_zs_opt"), shares[step], strict=True)) if step in shares else None
        )

    straight = config.with_options(steps=8, curriculum_steps=3, log_period=1)
    train(straight, reweight=reweight)
    written = lines(straight, "weights.jsonl")
    assert [(line["step"], line.get("holds_after"), *line["weights"].values()) for line in written] == [
        (2, 3, 0.5, 0.5), (5, None, 0.0, 1.0), (7, None, 0.25, 0.75)
    ]  # fmt: skip
    assert [line["step"] for line in lines(straight)] == list(range(1, 9))
    drawn = [line["sampled"]["toy_parity_zs_opt"]["examples"] for line in lines(straight)]
    assert drawn[4] == drawn[5] == drawn[6] < drawn[7]  # none in steps 6 and 7

    # Stopped after step 6; of what the folder says of later steps nothing is kept, of earlier ones all.
    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=6), reweight=reweight)
    assert lines(broken, "weights.jsonl") == written[:2]
    log = Path(broken.model_dir) / "weights.jsonl"
    log.write_text(
        "".join(json.dumps(line) + "\n" for line in [*written, {"step": 8, "weights": {}}]), encoding="utf-8"
    )
    train(broken, reweight=reweight)
    assert lines(broken, "weights.jsonl") == written
    assert [line["sampled"] for line in lines(broken)] == [line["sampled"] for line in lines(straight)]
    assert [line["loss"] for line in lines(broken)] == [line["loss"] for line in lines(straight)]


@pytest.mark.parametrize("curriculum", [False, True])
def test_changed_data_is_refused_unless_asked_for_and_then_recorded(config, declare, curriculum):
    config = config.with_options(curriculum_steps=1 if curriculum else 0)
    taught = (("toy_parity_zs_opt", 1.0),) if curriculum else ()
    declare((toys.PARITY, 3.0), (toys.COPY, 1.0), curriculum=taught)
    train(config)
    before = manifest(config)["tasks"]
    declare((toys.VOWEL, 1.0), (toys.PARITY, 3.0), curriculum=taught)
    more = config.with_options(steps=8)
    with pytest.raises(UserError, match=r"added: toy_vowel_zs_opt; removed: toy_copy_zs_opt.*on_data_change"):
        train(more)
    assert manifest(config)["tasks"] == before

    said = []
    accepted = more.with_options(on_data_change="accept")
    result = train(accepted, log=said.append)
    assert any("going on with changed data (added: toy_vowel_zs_opt" in line for line in said)
    rows = lines(config)
    parity = [row["sampled"]["toy_parity_zs_opt"]["examples"] for row in rows]
    assert parity == sorted(set(parity))  # it goes on where it stood
    assert set(rows[-1]["sampled"]) == {"toy_vowel_zs_opt", "toy_parity_zs_opt"}
    (change,) = manifest(config)["changes"]
    assert (change["step"], change["added"], change["removed"]) == (4, ["toy_vowel_zs_opt"], ["toy_copy_zs_opt"])
    assert change["before"] == before
    assert list(manifest(config)["tasks"]) == ["toy_vowel_zs_opt", "toy_parity_zs_opt"]
    # From now on these are the run's tasks.
    assert train(more).sampling_stats.tokens.tolist() == result.sampling_stats.tokens.tolist()
    assert len(manifest(config)["changes"]) == 1


def test_a_change_that_was_never_trained_on_can_be_made_again(config, declare, monkeypatch):
    train(config)
    declare((toys.PARITY, 1.0), (toys.COPY, 1.0))
    accepted = config.with_options(steps=6, on_data_change="accept")
    from flan_jax.experiments import train as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "fit", lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            train(accepted)
    # The manifest has the new weights, the checkpoint the old position.
    result = train(accepted)
    assert (result.step, manifest(config)["changes"][0]["reweighted"]) == (
        6,
        ["toy_parity_zs_opt", "toy_copy_zs_opt"],
    )
    assert result.sampling_stats.requested[0] < 0.75


def test_old_data_that_is_gone_is_named(config, declare):
    train(config)
    declare((toys.PARITY, 1.0))
    import shutil

    shutil.rmtree(Path(config.data.store) / "toy_copy_zs_opt")
    with pytest.raises(UserError, match=r"no longer in the store.*toy_copy_zs_opt.*INITIAL_CHECKPOINT_PATH"):
        train(config.with_options(steps=6, on_data_change="accept"))


def test_what_differs_between_two_tables():
    one = {name: {"fingerprint": name, "weight": 0.5} for name in ("a", "b", "c")}
    other = {
        "d": {"fingerprint": "d", "weight": 0.1},
        "b": {"fingerprint": "x", "weight": 0.5},
        "c": {"fingerprint": "c", "weight": 0.4},
    }
    assert DataChange.between(one, other) == DataChange(("d",), ("a",), ("b",), ("c",))
    assert str(DataChange.between(one, other)) == "added: d; removed: a; altered: b; reweighted: c"
    assert not DataChange.between(one, dict(reversed(one.items())))


def test_sums_by_task_follow_their_tasks():
    window = {"steps": 2, "sums": {"loss": 3.0, "task_loss": [1.0, 2.0]}}
    assert reordered_window(window, ["a", "b"], ["b", "c", "a"]) == {
        "steps": 2,
        "sums": {"loss": 3.0, "task_loss": [2.0, 0.0, 1.0]},
    }
    assert reordered_window({}, ["a"], ["b"]) == {"sums": {}}
