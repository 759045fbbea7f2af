import contextlib
import dataclasses
import itertools
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from run_tiny import TinyRun, batches, make_batch

from flan_jax.errors import UserError
from flan_jax.signals import Interrupted
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.finite import DivergedError
from flan_jax.train.hooks import MetricsWriter, read_metrics
from flan_jax.train.loop import WINDOW, Preempted, fit
from flan_jax.train.metrics_accumulator import MetricsAccumulator
from flan_jax.train.state import TrainState

NAMES = ("a", "b", "c")


class Recorder:
    """A hook that keeps what it is called with, and may do something at a step."""

    def __init__(self, at: int = 0, do: Callable[[], Any] | None = None) -> None:
        self.lines: list[tuple[int, dict]] = []
        self._at, self._do = at, do

    def __call__(self, step: int, metrics: dict, state: TrainState) -> None:
        self.lines.append((step, metrics))
        if self._do and step == self._at:
            self._do()


def host(state: TrainState) -> Any:
    key = jax.random.key_data(state.key)
    return jax.tree.map(np.array, jax.device_get((state.step, state.params, state.opt_state, key)))


def assert_same_bits(a: TrainState, b: TrainState) -> None:
    jax.tree.map(np.testing.assert_array_equal, host(a), host(b))


@pytest.fixture
def train(tiny_run: TinyRun) -> Callable[..., TrainState]:
    """Trains the tiny run from a state, or from its start."""

    def run(state: TrainState | None = None, **arguments: Any) -> TrainState:
        state = state or tiny_run.start()
        arguments.setdefault("batches", batches(int(state.step)))
        return fit(state, step_fn=tiny_run.step, shard_batch=tiny_run.put, **arguments)

    return run


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(
    train: Callable[..., TrainState], tiny_run: TinyRun, tmp_path: Path
) -> None:
    """The save at step 3 is asynchronous and its buffers are donated to step 4: it must be of step 3 all the same.

    Steps are logged in pairs, so step 3 lies in the middle of an average.
    """
    straight = MetricsWriter(tmp_path / "straight.jsonl", NAMES)
    with Checkpointer(tmp_path / "checkpoints", CheckpointConfig(period=3)) as checkpointer:
        final = train(steps=6, log_every=2, hooks=[straight], checkpointer=checkpointer)
        assert checkpointer.steps() == [3, 6]

    (tmp_path / "resumed.jsonl").write_bytes((tmp_path / "straight.jsonl").read_bytes())
    with Checkpointer(tmp_path / "checkpoints") as checkpointer:
        state, _, extra = checkpointer.restore(tiny_run.abstract, step=3)
    resumed = MetricsWriter(tmp_path / "resumed.jsonl", NAMES, resume_step=3)
    assert [line["step"] for line in read_metrics(resumed.path)] == [2]
    again = train(state, steps=6, log_every=2, hooks=[resumed], resumed=extra)

    assert_same_bits(final, again)
    lines, expected = read_metrics(resumed.path), read_metrics(straight.path)
    assert [line["step"] for line in lines] == [2, 4, 6]
    for line in (*lines, *expected):
        del line["seconds"]
    assert lines == expected


def test_a_restored_run_compiles_nothing_anew(
    train: Callable[..., TrainState], tiny_run: TinyRun, tmp_path: Path, compilations: list[str]
) -> None:
    with Checkpointer(tmp_path) as checkpointer:
        train(steps=2, checkpointer=checkpointer)
        restored = checkpointer.restore(tiny_run.abstract).state
    compilations.clear()
    train(restored, steps=4)
    assert compilations == []


def test_data_position_and_extra_travel_with_the_state(
    train: Callable[..., TrainState], tiny_run: TinyRun, tmp_path: Path
) -> None:
    drawn: list[int] = []

    def counted() -> Any:
        for index, batch in enumerate(batches()):
            drawn.append(index)
            yield batch

    with Checkpointer(tmp_path, CheckpointConfig(period=2)) as checkpointer:
        train(
            steps=4,
            batches=counted(),
            checkpointer=checkpointer,
            data_position=lambda: {"drawn": len(drawn)},
            extra=lambda: {"note": "seen"},
        )
        for step in (2, 4):
            restored = checkpointer.restore(tiny_run.abstract, step)
            assert restored.data_position == {"drawn": step}  # no batch is pulled ahead of its step
            assert restored.extra["note"] == "seen"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(
    signum: int, train: Callable[..., TrainState], tiny_run: TinyRun, tmp_path: Path
) -> None:
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    hook = Recorder(at=2, do=lambda: os.kill(os.getpid(), signum))
    with Checkpointer(tmp_path) as checkpointer:
        with pytest.raises(Preempted, match=f"{signal.Signals(signum).name} after step [23]: saved") as stopped:
            train(steps=50, log_every=1, hooks=[hook], checkpointer=checkpointer)
        assert (stopped.value.signum, stopped.value.saved) == (signum, True)
        assert checkpointer.latest_step() == stopped.value.step
        restored = checkpointer.restore(tiny_run.abstract)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert_same_bits(train(restored.state, steps=4), train(steps=4))


def test_without_a_checkpointer_a_stop_is_not_called_saved(train: Callable[..., TrainState]) -> None:
    hook = Recorder(at=1, do=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Preempted, match="nothing was saved") as stopped:
        train(steps=50, log_every=1, hooks=[hook])
    assert not stopped.value.saved


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_measurement_at_once_behind_the_save(
    signum: int, train: Callable[..., TrainState], tiny_run: TinyRun, tmp_path: Path
) -> None:
    """Of a step that is saved anyway the checkpoint lies before it is measured; of another it is made then."""
    for period in (2, 50):
        seen: list[list[int]] = []
        with Checkpointer(tmp_path / str(period), CheckpointConfig(period=period)) as checkpointer:

            def measure(
                step: int, metrics: dict, state: TrainState, checkpointer: Any = checkpointer, seen: Any = seen
            ) -> None:
                if step == 4:
                    checkpointer.wait()
                    seen.append(checkpointer.steps())
                    os.kill(os.getpid(), signum)
                    raise AssertionError("went on measuring")

            with pytest.raises(Preempted) as stopped:
                train(steps=50, log_every=2, measures=[measure], checkpointer=checkpointer)
            assert (stopped.value.step, stopped.value.signum) == (4, signum)
            assert seen == [[2, 4] if period == 2 else []]
            assert checkpointer.latest_step() == 4


def test_a_signal_before_the_first_step_ends_at_once(train: Callable[..., TrainState], tmp_path: Path) -> None:
    def kill_first() -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        yield from batches()

    with Checkpointer(tmp_path) as checkpointer, pytest.raises(Interrupted) as stopped:
        train(steps=5, batches=kill_first(), checkpointer=checkpointer)
    assert stopped.value.signum == signal.SIGTERM
    assert checkpointer.steps() == []


def test_a_second_interrupt_does_not_wait_for_the_step(train: Callable[..., TrainState]) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    with pytest.raises(Interrupted):
        train(steps=50, log_every=1, hooks=[Recorder(at=2, do=twice)])


@pytest.mark.parametrize(
    ("period", "kept", "says"), [(1, [1], "of step 1. The checkpoint of step 2 holds"), (2, [], "")]
)
def test_divergence_names_the_step_and_what_caused_it_is_not_kept(
    period: int, kept: list[int], says: str, train: Callable[..., TrainState], tmp_path: Path
) -> None:
    with Checkpointer(tmp_path, CheckpointConfig(period=period)) as checkpointer:
        with pytest.raises(UserError, match=f"diverged at step 3: the loss is nan.*{says}"):
            train(steps=9, batches=with_infinite(3), log_every=9, checkpointer=checkpointer)
        assert checkpointer.steps() == kept
    aside = {f"diverged-{step}" for step in (2,) if period < 3}
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("diverged")} == aside


def with_infinite(*steps: int) -> Iterator[dict[str, np.ndarray]]:
    """The batches of a run, those of some steps with an infinite loss."""
    for step, batch in enumerate(batches(), 1):
        if step in steps:
            batch["decoder_loss_weights"][0, 0] = np.inf
        yield batch


def test_a_step_that_is_not_finite_is_skipped_and_counted(train: Callable[..., TrainState], tmp_path: Path) -> None:
    """Weights, moments and the schedule stay; steps and data go on; the window's means leave it out."""
    before, single, triple = Recorder(), Recorder(), MetricsWriter(tmp_path / "metrics.jsonl", NAMES)
    good = train(steps=2, log_every=1, hooks=[before])
    state = train(
        steps=4, batches=with_infinite(3, 4), log_every=1, hooks=[single], window=MetricsAccumulator(most_skipped=3)
    )
    assert int(state.step) == 4
    assert_same_bits(dataclasses.replace(state, step=good.step), good)
    assert [line["skipped"] for _, line in single.lines] == [0, 0, 1, 1]
    assert math.isnan(single.lines[3][1]["loss"])
    after = Recorder()
    window = MetricsAccumulator(most_skipped=3)
    train(steps=6, batches=with_infinite(3, 4), log_every=5, hooks=[after, triple], window=window)
    assert window.in_a_row == 0
    line = after.lines[0][1]
    assert (line["skipped"], line["steps"]) == (2, 5)
    assert line["weight"] == sum(line["task_weight"]) < 5 * max(line["weight"] for _, line in before.lines)
    assert np.isfinite([line["loss"], line["grad_norm"], *line["task_loss"]]).all()
    assert line["learning_rate"] == pytest.approx(3e-3)  # of the third update: the warm-up of two is over
    text = (tmp_path / "metrics.jsonl").read_text()
    assert [json.loads(line, parse_constant=pytest.fail)["skipped"] for line in text.splitlines()] == [2, 0]


def test_so_many_skipped_steps_in_a_row_end_training_across_a_resumption(
    train: Callable[..., TrainState], tiny_run: TinyRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No checkpoint is due in between; one that a stop asked for goes too, as it holds the same weights."""
    stop = Recorder(at=4, do=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with Checkpointer(tmp_path, CheckpointConfig(period=1)) as checkpointer:
        with pytest.raises(Preempted) as stopped:
            train(
                steps=9, batches=with_infinite(*range(3, 9)), log_every=1, hooks=[stop], checkpointer=checkpointer,
                window=MetricsAccumulator(most_skipped=5),
            )  # fmt: skip
        assert stopped.value.step == 4
        assert checkpointer.steps() == [1, 2, 4]
        assert "No checkpoint of step 3: the last 1 steps were skipped" in caplog.text
        state, _, extra = checkpointer.restore(tiny_run.abstract)
        rest = itertools.islice(with_infinite(*range(3, 9)), 4, None)
        window = MetricsAccumulator(extra[WINDOW], most_skipped=5)
        with pytest.raises(DivergedError, match=r"step 7: .*the 4 steps before it were skipped") as error:
            train(state, steps=9, batches=rest, log_every=9, window=window, checkpointer=checkpointer)
        assert error.value.bad == 2
        assert checkpointer.steps() == [1]
        assert "The last good checkpoint is of step 1." in str(error.value)


@pytest.mark.parametrize("size", [np.inf, np.nan, 5e9])
def test_a_state_that_its_last_update_destroyed_is_not_saved(size: float, tiny_run: TinyRun, tmp_path: Path) -> None:
    """The loss of that step is of the weights before, and looks well."""

    def destroys(state: TrainState, batch: Any) -> Any:
        state, metrics = tiny_run.step(state, batch)
        if int(state.step) == 4:
            embedding = state.params["embedding"].at[0, 0].set(size)
            state = dataclasses.replace(state, params={**state.params, "embedding": embedding})
        return state, metrics

    with Checkpointer(tmp_path, CheckpointConfig(period=2)) as checkpointer:
        with (
            jax.transfer_guard("allow"),
            pytest.raises(UserError, match="diverged at step 4: after its update") as caught,
        ):
            fit(
                tiny_run.start(),
                batches(),
                lambda state, batch: _unguarded(destroys, state, batch),
                steps=9,
                shard_batch=tiny_run.put,
                checkpointer=checkpointer,
            )
        assert "The last good checkpoint is of step 2." in str(caught.value)
        assert checkpointer.steps() == [2]
    says = (
        "1 of the 1,024 numbers of params/embedding are not"
        if not np.isfinite(size)
        else "params/embedding holds a number of size 5e+09"
    )
    assert says in str(caught.value)


def _unguarded(function: Callable[..., Any], *arguments: Any) -> Any:
    with jax.transfer_guard("allow"):
        return function(*arguments)


def test_a_batch_without_loss_tokens_is_an_error(train: Callable[..., TrainState]) -> None:
    empty = make_batch(0)
    empty["decoder_loss_weights"] = np.zeros_like(empty["decoder_loss_weights"])
    with pytest.raises(UserError, match="batch of step 2 has no loss token"):
        train(steps=5, batches=iter([make_batch(0), empty, make_batch(1)]), log_every=3)


def test_batches_that_end_early_are_an_error(train: Callable[..., TrainState]) -> None:
    with pytest.raises(UserError, match="ended after step 2 of 5"):
        train(steps=5, batches=iter([make_batch(0), make_batch(1)]))


def test_what_ends_training_is_told_before_a_save_is_waited_for(
    train: Callable[..., TrainState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several processes the others know of nothing yet, and the save waits for them."""
    seen: list[str] = []

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        try:
            yield
        except UserError as error:
            seen.append(str(error))
            raise

    def full(step: int, *_: Any) -> None:
        raise UserError("there is no space left")

    with Checkpointer(tmp_path) as checkpointer:
        wait = checkpointer.wait
        monkeypatch.setattr(checkpointer, "wait", lambda: (seen.append("waited"), wait()))
        with pytest.raises(UserError, match="no space"):
            train(steps=2, log_every=1, checkpointer=checkpointer, hooks=[full], failing=failing)
    assert seen[:2] == ["there is no space left", "waited"]


def test_an_implicit_transfer_is_an_error(tiny_run: TinyRun) -> None:
    step = jax.jit(lambda state, batch: (state, batch))
    with pytest.raises(Exception, match=r"[Dd]isallowed host-to-device"):
        fit(tiny_run.start(), batches(), step, steps=2, shard_batch=lambda batch: batch)


def test_hooks_see_averages_over_the_tokens_since_the_last_line(train: Callable[..., TrainState]) -> None:
    single, triple = Recorder(), Recorder()
    train(steps=7, log_every=1, hooks=[single])
    train(steps=7, log_every=3, hooks=[triple])
    assert [step for step, _ in triple.lines] == [3, 6, 7]  # the last step is always logged
    line, steps = triple.lines[0][1], [metrics for _, metrics in single.lines[:3]]
    weights = np.array([metrics["weight"] for metrics in steps])
    assert line["weight"] == weights.sum()
    assert line["tokens"] == sum(metrics["tokens"] for metrics in steps)
    assert line["loss"] == pytest.approx(np.average([metrics["loss"] for metrics in steps], weights=weights))
    assert line["learning_rate"] == steps[-1]["learning_rate"]
    for task in range(3):
        parts = [(m["task_loss"][task], m["task_weight"][task]) for m in steps if m["task_weight"][task] > 0]
        total = sum(weight for _, weight in parts)
        assert line["task_weight"][task] == pytest.approx(total)
        if total:
            assert line["task_loss"][task] == pytest.approx(sum(loss * weight for loss, weight in parts) / total)
        else:
            assert math.isnan(line["task_loss"][task])


def test_a_finished_run_takes_no_step(train: Callable[..., TrainState], tiny_run: TinyRun) -> None:
    state = train(steps=2)
    hook = Recorder()
    assert int(train(state, steps=2, hooks=[hook], batches=iter(())).step) == 2
    assert hook.lines == []


def test_a_bad_period(train: Callable[..., TrainState]) -> None:
    with pytest.raises(UserError, match="log_every is 0; it must be at least 1"):
        train(steps=1, log_every=0)


def test_metrics_are_json(train: Callable[..., TrainState], tmp_path: Path) -> None:
    train(steps=2, log_every=1, hooks=[MetricsWriter(tmp_path / "run" / "metrics.jsonl", NAMES)])
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert set(lines[0]["task_loss"]) == set(lines[0]["task_share"]) <= set(NAMES)
    assert sum(lines[0]["task_share"].values()) == pytest.approx(1.0)


def test_what_no_update_caused_is_not_answered_with_a_lower_rate() -> None:
    assert "No update led there: look at the weights that it began with" in str(DivergedError(1, "the loss is nan"))
    assert "Lower the learning rate" in str(DivergedError(2, "the loss is nan"))
    assert "Lower the learning rate" in str(DivergedError(1, "after its update", bad=1))
