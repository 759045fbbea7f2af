"""One run wired together: what it leaves behind, resuming, measuring, starting from other weights."""

import contextlib
import dataclasses
import errno
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from flan_jax import signals
from flan_jax.cli.main import main
from flan_jax.errors import UserError
from flan_jax.eval import runner, scoring
from flan_jax.eval.decoding import generation
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.results import read_predictions, read_results
from flan_jax.experiments import evaluation_hook
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import eval_suites, evaluate_run
from flan_jax.experiments.generate import Answerer
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.experiments.run_folder.run_identity import difference
from flan_jax.experiments.train import train
from flan_jax.experiments.weights.export_hf import export_run
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.models.build import logical_axes
from flan_jax.models.huggingface import writer
from flan_jax.models.t5.config import T5Config
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_stream import StoredParams
from flan_jax.train.optimizer import OptimizerConfig, make_optimizer
from flan_jax.train.sharding import make_partitioner
from flan_jax.train.state import abstract_sharded_state

DEVICES = 2  # of a run that names no mesh
WITHOUT_TIME = {"seconds", "speed"}


def run_config(folder, **changes) -> RunConfig:
    values = {
        "model_dir": str(folder),
        "mixture": "mini",
        "lengths": {"inputs": 64, "targets": 16},
        "model": T5Config(
            vocab_size=896, d_model=16, d_kv=4, num_heads=2, d_ff=16, num_encoder_layers=1, num_decoder_layers=1,
            dropout_rate=0.1,
        ),
        "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-3),
        "steps": 6,
        "batch_size": 8,
        "log_period": 1,
        "store": str(STORE),
        "checkpoint": CheckpointConfig(period=2, keep=1),
        "evaluation": EvalConfig(suites=()),
    }  # fmt: skip
    return RunConfig.from_options(**{**values, **changes})


STORE = Path()


@pytest.fixture(scope="module", autouse=True)
def store(mini_store):
    global STORE
    STORE = mini_store


def series(folder) -> list[dict]:
    lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in WITHOUT_TIME} for line in lines]


def leaves(config):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(load_weights(config).params)]


def test_a_resumed_run_is_bitwise_one_that_was_never_interrupted(tmp_path):
    straight, broken = run_config(tmp_path / "straight"), run_config(tmp_path / "broken")
    assert train(straight).step == 6
    assert train(broken.with_options(steps=3)).step == 3
    assert train(broken).step == 6
    assert [line["step"] for line in series(broken.model_dir)] == [1, 2, 3, 4, 5, 6]
    assert series(broken.model_dir) == series(straight.model_dir)
    for one, other in zip(leaves(straight), leaves(broken), strict=True):
        np.testing.assert_array_equal(one, other)
    # A finished run, run again, has nothing left to do.
    assert train(broken).step == 6


def test_an_average_of_the_weights_is_kept_measured_and_exported_on_request(tmp_path):
    checkpoint, asked = (
        CheckpointConfig(period=1, keep=3),
        EvalConfig(suites=("held_out",), max_examples=1, ema=True, batch_size=8),
    )
    config = run_config(tmp_path / "run", steps=1, ema_decay=0.75, checkpoint=checkpoint, evaluation=asked)
    train(config)
    train(config.with_options(steps=2))
    one, two = (load_weights(config, step=step).params for step in (1, 2))
    plain = load_weights(config.with_options(evaluation=EvalConfig())).params
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, one, plain)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), two, expected)
    assert read_results(Path(config.model_dir), 2).weights == params_digest(two) != params_digest(plain)
    stored = StoredParams(tmp_path / "run" / "checkpoints", ema=True)
    np.testing.assert_array_equal(stored.read(("embedding",)), two["embedding"])
    with pytest.raises(UserError, match=r"EvalConfig.ema=True measures an average .* run.ema_decay is 0"):
        run_config(tmp_path / "other", evaluation=asked)


def test_the_seed_and_the_mixture_change_the_run(tmp_path):
    first, second = run_config(tmp_path / "a", steps=2), run_config(tmp_path / "b", steps=2, seed=1)
    train(first)
    train(second)
    assert series(first.model_dir) != series(second.model_dir)
    with pytest.raises(UserError, match="seed: 0 → 1"):
        train(second.with_options(model_dir=first.model_dir))


def test_the_folder_is_complete(tmp_path):
    suites = ("held_in", "unseen_templates", "held_out")
    config = run_config(
        tmp_path / "run",
        steps=2,
        evaluation=EvalConfig(suites=suites, before=True, period=1, max_examples=3, batch_size=8),
    )
    train(config, operative="# the text of the run\n")
    folder = Path(config.model_dir)
    names = {
        "audit.json",
        "config.gin",
        "model-info.txt",
        "manifest.json",
        "checkpoints",
        "events",
        "metrics.jsonl",
        "eval",
        "overlap.json",
        "report.html",
    }
    assert names == {path.name for path in folder.iterdir()}
    assert "Parameters in total: " in (folder / "model-info.txt").read_text(encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["held_out_clusters"] == ["entity_recognition", "topic"]
    trained = {task["cluster"] for task in manifest["tasks"].values()}
    assert not trained & set(manifest["held_out_clusters"])
    assert abs(sum(task["weight"] for task in manifest["tasks"].values()) - 1) < 1e-9
    for step in (0, 1, 2):
        results = read_results(folder, step)
        assert set(results.suites) == set(suites)
        task = results.suites["held_out"][0]
        assert task.n == 3
        assert len(list(read_predictions(folder, step, task.name))) == 3
    line = series(folder)[-1]
    assert set(line["task_loss"]) == set(line["task_share"])
    assert abs(sum(line["task_share"].values()) - 1) < 1e-6


def _kill_and_go_on(config, folder, monkeypatch):
    """An evaluation that is killed in its third batch leaves what was answered, and the next one computes the rest."""
    small = config.with_options(evaluation=EvalConfig(suites=("held_out",), max_examples=4, batch_size=8))
    calls = []

    def counted(*arguments, last=1000, **keywords):
        calls.append(1)
        if len(calls) > last:
            raise signals.Interrupted(signal.SIGTERM)
        return prefill(*arguments, **keywords)

    prefill = scoring.prefill
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "prefill", counted)
        evaluate_run(small)
        whole, batches = folder_bytes(folder), len(calls)
        assert batches > 3
        calls.clear()
        patched.setattr(scoring, "prefill", functools.partial(counted, last=2))
        with pytest.raises(signals.Interrupted):
            evaluate_run(small)
        assert (folder / "answers.journal").is_file()
        calls.clear()
        patched.setattr(scoring, "prefill", counted)
        said = []
        evaluate_run(small, log=said.append)
    assert len(calls) == batches - 2
    assert folder_bytes(folder) == whole
    assert any("did not come to its end left" in line for line in said)


def folder_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_task_that_fails_is_logged_and_training_goes_on(tmp_path, monkeypatch):
    config = run_config(
        tmp_path / "run", steps=1, evaluation=EvalConfig(suites=("held_out",), max_examples=1, batch_size=8)
    )
    chance, said = runner.chance, []

    def broken(task):
        if task.name == names[1]:
            raise RuntimeError("no such luck")
        return chance(task)

    train(config.with_options(evaluation=EvalConfig(suites=())))
    names = [task.name for task in eval_suites(open_data(config, training=False), config)["held_out"]]
    with monkeypatch.context() as patched:
        patched.setattr(runner, "chance", broken)
        assert train(config, log=said.append).step == 1
    sentence = "RuntimeError: no such luck (test_experiments_train.py, line "
    assert any(line.startswith(f"task {names[1]!r} could not be measured, the others are: {sentence}") for line in said)
    results = read_results(config.model_dir, 1)
    assert list(results.failed) == [names[1]]
    assert results.failed[names[1]].startswith(sentence)
    assert results.averages["held_out"].tasks == len(names) - 1
    # Mended: the same command measures the suite again, with the answers that are there.
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "prefill", None)
        patched.setattr(generation, "generate", None)
        train(config, log=said.append)
    assert read_results(config.model_dir, 1).averages["held_out"].tasks == len(names)
    assert not list(Path(config.model_dir).rglob("*.journal"))


def test_evaluation_reads_the_checkpoint(tmp_path, monkeypatch):
    config = run_config(tmp_path / "run", steps=2)
    train(config)
    measured = config.with_options(evaluation=EvalConfig(suites=("held_out",), max_examples=4, batch_size=8))
    results = evaluate_run(measured)
    assert results.step == 2
    assert (tmp_path / "run" / "eval" / "2" / "results.json").is_file()
    _kill_and_go_on(config, tmp_path / "run" / "eval" / "2", monkeypatch)
    # Another suite at the same step joins the first.
    evaluate_run(config.with_options(evaluation=EvalConfig(suites=("held_in",), max_examples=2, batch_size=8)))
    both = read_results(tmp_path / "run", 2)
    assert set(both.suites) == set(both.averages) == {"held_in", "held_out"}
    assert len(list(read_predictions(tmp_path / "run", 2, both.suites["held_out"][0].name))) == 4
    with pytest.raises(UserError, match="no checkpoint of step 1"):
        evaluate_run(measured, step=1)
    assert isinstance(Answerer(config).answer("what kind of thing is a spade?"), str)
    with pytest.raises(UserError, match="at most 63"):
        Answerer(config).answer("word " * 80)


def test_weights_of_another_run_and_of_a_hugging_face_folder(tmp_path):
    first = run_config(tmp_path / "first", steps=2)
    train(first)
    weights = load_weights(first).params
    writer.save(tmp_path / "hf", first.model, weights)
    for source in ("first", "hf"):
        config = run_config(tmp_path / f"from_{source}", steps=0, initial_checkpoint=str(tmp_path / source))
        for one, other in zip(jax.tree.leaves(load_weights(config).params), jax.tree.leaves(weights), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    wider = dataclasses.replace(first.model, d_ff=32)
    config = run_config(tmp_path / "wider", model=wider, initial_checkpoint=str(tmp_path / "hf"))
    with pytest.raises(UserError, match="are of a model with d_ff=16, and the configured model has 32"):
        train(config)
    assert not (tmp_path / "wider").exists()


def test_weights_that_are_not_finite_are_named(tmp_path):
    """A checkpoint of an earlier version, which saved what had diverged; every way of using it says so."""
    config = run_config(tmp_path / "run", steps=1)
    train(config)
    with Checkpointer(tmp_path / "run" / "checkpoints", config=config.identity()) as checkpointer:
        like = abstract_sharded_state(
            config.model, make_optimizer(config.optimizer, logical_axes(config.model)), make_partitioner(config.mesh)
        )[1]
        state, position, extra = checkpointer.restore(like)
        bad = {**state.params, "embedding": state.params["embedding"].at[3, 5].set(np.nan)}
        checkpointer.save(2, dataclasses.replace(state, params=bad), position, extra)
    sentence = r"1 of the 14,336 numbers of (params/)?embedding are not finite"
    other = run_config(tmp_path / "other", initial_checkpoint=str(tmp_path / "run"))
    for use in (
        lambda: evaluate_run(
            config.with_options(evaluation=EvalConfig(suites=("held_out",), max_examples=1, batch_size=8))
        ),
        lambda: Answerer(config),
        lambda: train(other),
        lambda: export_run(tmp_path / "run", tmp_path / "exported"),
    ):
        with pytest.raises(UserError, match=sentence) as caught:
            use()
        assert "learning rate" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert isinstance(Answerer(config, step=1).answer("what kind of thing is a spade?"), str)


def test_a_run_that_saved_nothing_does_not_stand_in_the_way(tmp_path):
    """It diverged at its first step; the corrected one begins in the same folder."""
    wrong = run_config(
        tmp_path / "run", optimizer=OptimizerConfig(name="adamw", learning_rate=1e9), steps=3, max_skipped_steps=1
    )
    with pytest.raises(
        UserError,
        match=r"at step 2: the loss is nan.*There is no checkpoint before that.*the batch of step 2 are listed",
    ):
        train(wrong)
    (batch,) = json.loads((tmp_path / "run" / "diverged.json").read_text(encoding="utf-8"))
    assert (batch["step"], {each["row"] for each in batch["examples"]}) == (2, set(range(8)))
    assert (tmp_path / "run" / "manifest.json").is_file()
    right = run_config(tmp_path / "run", steps=2, seed=2)
    assert train(right).step == 2
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]["seed"] == 2
    assert [line["step"] for line in series(tmp_path / "run")] == [1, 2]
    with pytest.raises(UserError, match="holds another run: seed: 2"):
        train(run_config(tmp_path / "run", steps=3))


def test_an_evaluation_that_was_interrupted_is_made_up_for(tmp_path, monkeypatch):
    """The step is saved before it is measured; the run that continues measures it, and the folder is as if nothing was."""
    config = run_config(
        tmp_path / "run", steps=4, evaluation=EvalConfig(suites=("held_out",), period=2, max_examples=1, batch_size=8)
    )
    calls = []

    def interrupted(*arguments, **keywords):
        calls.append(keywords["step"])
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    with monkeypatch.context() as patched:
        patched.setattr(evaluation_hook, "measure_suites", interrupted)
        stopped = train(config)
    assert (stopped.stopped, stopped.step, stopped.signum, calls) == (True, 2, signal.SIGTERM, [2])
    assert not (tmp_path / "run" / "eval").exists()
    assert train(config).step == 4
    assert sorted(path.name for path in (tmp_path / "run" / "eval").iterdir()) == ["2", "4"]
    assert not [path for path in (tmp_path / "run").rglob(".*")]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_of_one_of_several_machines_ends_the_run_while_it_measures(processes, tmp_path, monkeypatch):
    """The others wait for its share of the answers; a run of one process notes it and trains on."""

    def fails(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    said = []
    suites = types.SimpleNamespace(
        config=run_config(tmp_path / "run"), tasks={}, outdated=lambda step, weights: {"held_out": "new"},
        _held_out=(), _progress=None, _log=said.append,
    )  # fmt: skip
    monkeypatch.setattr(evaluation_hook, "measure_suites", fails)
    monkeypatch.setattr(evaluation_hook.jax, "process_count", lambda: processes)
    with contextlib.nullcontext() if processes == 1 else pytest.raises(OSError, match="Input/output"):
        evaluation_hook.RunSuites.measure(suites, 4, None, "weights")
    assert any("nothing could be measured at step 4" in line for line in said) is (processes == 1)


def test_a_vocabulary_larger_than_the_model(tmp_path):
    config = run_config(tmp_path / "run")
    small = dataclasses.replace(config.model, vocab_size=128)
    with pytest.raises(UserError, match="room for 128"):
        train(config.with_options(model=small))


def test_difference_names_what_changed():
    assert difference({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1]}, "d": 0}) == [
        "b.c: [1] → [1, 2]",
        "d: 0 → None",
    ]


def test_a_killed_run_continues_where_it_was(tmp_path, capsys):
    arguments = [
        "train", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin", "--gin.MIXTURE_OR_TASK_NAME=mini",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", f"--gin.STORE={STORE}", "--gin.BATCH_SIZE=8",
        "--gin.T5Config.d_model=16", "--gin.T5Config.d_ff=16", "--gin.T5Config.num_encoder_layers=1",
        "--gin.T5Config.num_decoder_layers=1", "--gin.LOG_PERIOD=1", "--gin.EvalConfig.suites=()",
        # The step of the other runs, which is compiled already.
        "--gin.T5Config.d_kv=4", "--gin.T5Config.num_heads=2", "--gin.DROPOUT_RATE=0.1", "--gin.Z_LOSS=0.0",
        "--gin.OptimizerConfig.name='adamw'", "--gin.LEARNING_RATE=1e-3",
    ]  # fmt: skip

    def command(name, steps):
        return [*arguments, f"--gin.MODEL_DIR={tmp_path / name}", f"--gin.TRAIN_STEPS={steps}"]

    prepare_run(run_config(tmp_path / "run"))  # here, where the embedded world is small
    code = "import sys; from flan_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    # On as many devices as a run has in this process, which continues it.
    flags = re.sub(r"(device_count)=\d+", rf"\1={DEVICES}", os.environ["XLA_FLAGS"])
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command("broken", 100_000)],
        env={**os.environ, "XLA_FLAGS": flags},
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "broken" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while (
        process.poll() is None
        and time.monotonic() < deadline
        and not (metrics.is_file() and metrics.read_text(encoding="utf-8").count("\n") > 3)
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "run the same command again to continue" in err
    assert "Traceback" not in err
    stopped_after = series(metrics.parent)[-1]["step"]
    more = stopped_after + 3
    for name in ("broken", "straight"):
        assert main(command(name, more)) == 0, capsys.readouterr().err
        assert (f"resuming at step {stopped_after} of {more}" in capsys.readouterr().err) is (name == "broken")
    assert series(tmp_path / "broken") == series(tmp_path / "straight")
    assert len(series(tmp_path / "broken")) == more
