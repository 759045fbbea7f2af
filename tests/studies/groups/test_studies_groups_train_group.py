"""A group of runs from configurations to results: each run's folder is what that run alone leaves."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fewer_devices import fewer_devices

from flan_jax.errors import UserError
from flan_jax.eval.grouped.predictor import GroupedPredictor
from flan_jax.eval.provenance import params_digest
from flan_jax.eval.results import read_predictions, read_results
from flan_jax.experiments import data
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import CheckpointConfig, EvalConfig
from flan_jax.experiments.train import train
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.mixing.mixture import MIXTURES
from flan_jax.models.build import num_params
from flan_jax.models.runs_axis import runs_mesh
from flan_jax.report.run import read_run
from flan_jax.studies.groups import memory, program
from flan_jax.studies.groups.memory import bytes_of_runs, runs_that_fit
from flan_jax.studies.groups.outputs import GroupProgress
from flan_jax.studies.groups.train_group import RunOutcome, train_group
from flan_jax.testing.models import tiny_decoder
from flan_jax.testing.tasks import toy_mixture
from flan_jax.train.hooks import read_metrics
from flan_jax.train.loop import Preempted
from flan_jax.train.optimizer import OptimizerConfig

STEPS = 4
MODEL = tiny_decoder(vocab_size=272, d_model=8, num_layers=1, num_heads=2, num_kv_heads=1, d_ff=8, dropout_rate=0.1)
BASE: dict[str, Any] = {
    "mixture": "toy_group",
    "lengths": {"inputs": 64, "targets": 24},
    "model": MODEL,
    "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-2),
    "steps": STEPS,
    "batch_size": 8,
    "log_period": 2,
    "template_seed": 0,
    "checkpoint": CheckpointConfig(period=STEPS),
    "evaluation": EvalConfig(suites=("held_out",), max_examples=3, batch_size=8),
}
RUNS: tuple[dict[str, Any], ...] = (
    {"seed": 1},
    {
        "seed": 2,
        "weights": {"toy_parity": 3.0, "toy_copy": 1.0},
        "optimizer": OptimizerConfig(name="adamw", learning_rate=2e-2),
    },
    {"seed": 3, "optimizer": OptimizerConfig(name="adamw", learning_rate=1e30)},
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The toy mixture has a name, is prepared without workers, and programs are compiled quickly."""
    compiled, small = program.compile_group_step, {"xla_backend_optimization_level": 0}

    def compile_quickly(*arguments: Any, **named: Any) -> Any:
        return compiled(*arguments, **named, compiler_options=small)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "compile_group_step", compile_quickly)
        patch.setattr(data, "usable_cores", lambda: 1)
        patch.setitem(MIXTURES._items, "toy_group", lambda: toy_mixture("toy_group"))
        yield


def configs(root: Path, store: Path) -> list[RunConfig]:
    return [
        RunConfig.from_options(**{**BASE, "model_dir": str(root / f"run_{index}"), "store": str(store), **changes})
        for index, changes in enumerate(RUNS)
    ]


@dataclasses.dataclass
class Trained:
    root: Path
    store: Path
    outcomes: tuple[RunOutcome, ...]
    progress: list[GroupProgress]
    log: list[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("together")
    store, progress, log = root / "store", [], []
    outcomes = train_group(
        configs(root, store), folder=root / "group", on_progress=progress.append, log=log.append, keep_checkpoints=True
    )
    return Trained(root, store, outcomes, progress, log)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "speed")}
        for line in read_metrics(folder / "metrics.jsonl")
    ]


def close(ours: Any, theirs: Any) -> None:
    """Equal but for the last digits of numbers."""
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name, value in ours.items():
            close(value, theirs[name])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            close(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    else:
        assert ours == theirs


def results(folder: Path) -> Any:
    """Scores and answers of everything measured at the last step."""
    found = read_results(folder, STEPS)
    return {
        suite: {
            task.name: (task.value, [p.option_scores for p in read_predictions(folder, STEPS, task.name)])
            for task in tasks
        }
        for suite, tasks in found.suites.items()
    }


def test_a_run_of_a_group_leaves_what_it_leaves_alone(trained, tmp_path):
    ours, alone = trained.root / "run_1", tmp_path / "alone"
    config = configs(trained.root, trained.store)[1]
    with fewer_devices(1):  # as many as a run of the group has
        train(config.with_options(model_dir=str(alone)))
    close(lines(ours), lines(alone))
    close(results(ours), results(alone))
    assert set(results(ours)) == {"held_out"}
    mine, theirs = (json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in (ours, alone))
    assert mine == theirs
    assert (ours / "model-info.txt").read_text() == (alone / "model-info.txt").read_text()
    kept, other = (load_weights(config.with_options(model_dir=str(folder))) for folder in (ours, alone))
    assert kept.step == STEPS
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-5), kept.params, other.params)
    # The results are known to be of the weights that were kept.
    assert read_results(ours, STEPS).weights == params_digest(kept.params)
    report = read_run(ours)
    assert report.missing == read_run(alone).missing
    assert report.last is not None


def test_a_diverged_run_is_marked_and_not_measured(trained):
    done, other, diverged = trained.outcomes
    assert [done.state, other.state, diverged.state] == ["done", "done", "diverged"]
    assert (done.step, other.step, diverged.step) == (STEPS, STEPS, 0)
    assert diverged.reason.startswith("Training diverged at step 1: ")
    assert lines(trained.root / "run_2") == []
    assert not (trained.root / "run_2" / "eval").exists()
    assert not (trained.root / "run_2" / "checkpoints").exists()
    last = trained.progress[-1]
    assert (last.step, last.steps) == (STEPS, STEPS)
    assert list(last.losses) == [done.model_dir, other.model_dir]
    assert list(last.diverged) == [diverged.model_dir]
    assert diverged.reason.startswith(last.diverged[diverged.model_dir])
    path = trained.root / "run_2" / "diverged.json"
    assert diverged.reason.endswith(f"The examples of the batch of step 1 are listed in {path}.")
    (batch,) = json.loads(path.read_text(encoding="utf-8"))
    assert batch["step"] == 1
    assert {each["row"] for each in batch["examples"]} == set(range(8))


def test_runs_that_measure_the_same_examples_are_asked_once(trained, tmp_path, monkeypatch):
    asked = []
    answer = GroupedPredictor.answer_batches

    def counted(self: Any, request: Any, examples: Any, skip: Any = ()) -> Any:
        asked.append(request)
        return answer(self, request, examples, skip)

    monkeypatch.setattr(GroupedPredictor, "answer_batches", counted)
    copied = tmp_path / "copy"
    shutil.copytree(trained.root, copied)
    for run in (0, 1):
        shutil.rmtree(copied / f"run_{run}" / "eval")
    train_group(configs(copied, trained.store), folder=copied / "group")  # nothing is left to train
    assert asked == ["rank", "rank"]  # options behind their prompts, and behind none; of two runs once
    for run in (0, 1):
        close(results(copied / f"run_{run}"), results(trained.root / f"run_{run}"))


def test_a_group_that_is_told_to_stop_goes_on_to_the_same_bits(trained, tmp_path):
    def stop(progress: GroupProgress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    theirs = configs(tmp_path, trained.store)
    with pytest.raises(Preempted) as told:
        train_group(theirs, folder=tmp_path / "group", on_progress=stop)
    assert (told.value.step, told.value.saved) == (2, True)
    outcomes = train_group(theirs, folder=tmp_path / "group")
    for mine, first in zip(outcomes, trained.outcomes, strict=True):
        reason = first.reason.replace(first.model_dir, mine.model_dir)
        assert mine == dataclasses.replace(first, model_dir=mine.model_dir, reason=reason)
    for run in range(3):
        assert lines(tmp_path / f"run_{run}") == lines(trained.root / f"run_{run}")
    for run in (0, 1):
        assert results(tmp_path / f"run_{run}") == results(trained.root / f"run_{run}")
        weights = [read_results(root / f"run_{run}", STEPS).weights for root in (tmp_path, trained.root)]
        assert weights[0] == weights[1]


def test_other_runs_do_not_go_on_with_a_group(trained):
    ours = configs(trained.root, trained.store)
    with pytest.raises(UserError, match="holds a group of 3 runs, and this one has 2"):
        train_group(ours[:2], folder=trained.root / "group")
    with pytest.raises(UserError, match="is of another run"):
        train_group([ours[1], ours[0], ours[2]], folder=trained.root / "group")
    with pytest.raises(UserError, match="has checkpoints of its own"):
        train_group(ours[:1], folder=trained.root / "another")


def test_each_run_adds_its_state_and_as_many_are_trained_as_memory_holds(trained, monkeypatch):
    config, mesh = configs(trained.root, trained.store)[0], runs_mesh(jax.local_devices()[:1])
    one, two = (bytes_of_runs(config, runs, mesh=mesh) for runs in (1, 2))
    assert two - one >= 4 * 3 * num_params(MODEL)  # weights and two moments, at least
    monkeypatch.setattr(memory, "bytes_of_runs", lambda config, runs, **_: 1000 + 500 * runs)
    devices = len(jax.local_devices())
    assert runs_that_fit(config, limit=int((1000 + 3.9 * 500) / memory.SHARE)) == 3 * devices
    with pytest.raises(UserError, match="Lower BATCH_SIZE"):
        runs_that_fit(config, limit=1400)
    assert runs_that_fit(config, limit=10**12) == memory.MOST_RUNS
    monkeypatch.undo()
    assert memory.device_memory(mesh) > 2**20
