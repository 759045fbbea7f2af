"""The loop around the step: feed, log, save, stop when told to."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax import signals
from flan_jax.errors import UserError
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.finite import DivergedError, destroyed
from flan_jax.train.metrics_accumulator import HostMetrics, MetricsAccumulator
from flan_jax.train.reporting.speed import Speed, Stopwatch
from flan_jax.train.state import TrainState
from flan_jax.train.step import Batch, Metrics

_LOG = logging.getLogger(__name__)
WINDOW = "metrics_window"
"""Under this name a checkpoint's extra holds the unfinished metrics window."""


MOST_WAIT = 0.05
"""Of the time of training, what may pass in waiting for data without a word."""
_LEAST_TOLD_S = 1.0


class Enough(Exception):  # noqa: N818 - it is no error
    """A measure found that training is to end with this step, and why, in a sentence."""


class Hook(Protocol):
    """Called in every process after each logged step, with host-side metrics (`MetricsAccumulator.flush`)."""

    def __call__(self, step: int, metrics: HostMetrics, state: Any, /) -> None:
        """Does what it does; the state (a run's, or a group's) must not be kept: its buffers are donated to the next step."""


class BeforeStep(Protocol):
    """Called in every process with each batch, once it is on the devices."""

    def __call__(self, step: int, state: TrainState, batch: Batch, /) -> Batch:
        """Returns the batch that the 1-based `step` trains on; `state` is that of the step before."""


class AfterStep(Protocol):
    """Called in every process after each step, whose metrics may still be computing."""

    def __call__(self, step: int, state: TrainState, metrics: Metrics, /) -> TrainState | None:
        """Does what it does; the state must not be kept, its buffers are donated to the next step.

        Returns:
          The state to go on from instead, after as many steps; ``None`` for the one that is there.
        """


class Window(Protocol):
    """The metrics of the steps since the last logged one; `MetricsAccumulator` is that of one run."""

    in_a_row: int
    """The last steps that were skipped, one after the other: with weights that may be the cause, no checkpoint is due."""

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Notes the metrics of a step that may still be computing."""

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Leaves what happens inside out of the window's seconds."""

    def flush(self) -> HostMetrics:
        """Returns what is logged, and begins the next window."""

    def state(self) -> dict[str, Any]:
        """Returns the unfinished window as JSON."""


class Preempted(Exception):  # noqa: N818 - it is no error
    """Training was told to stop and did so after a whole step.

    Attributes:
      step: steps taken; where `saved` is true, also the newest checkpoint.
      signum: the signal that told it.
      saved: whether there is a checkpoint of the step.
    """

    def __init__(self, step: int, signum: int, saved: bool) -> None:
        what = "saved there; run the same command again to continue" if saved else "nothing was saved"
        super().__init__(f"Stopped by {signal.Signals(signum).name} after step {step}: {what}.")
        self.step, self.signum, self.saved = step, signum, saved


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a question asked after every step, once there is a step to save.

    Before that (the step is being compiled) and while `at_once` is true (something is measured) they raise
    `signals.Interrupted`; so does a second Ctrl-C at any time. Where several processes train together they
    must stop after the same step: there the signal handler is JAX's own, and its preemption service agrees
    on the step (SIGTERM to any process suffices; Ctrl-C is not caught).
    """

    def __init__(self) -> None:
        self._signum = 0
        self._at_once = True
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self.at_once(True)
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def at_once(self, yes: bool) -> None:
        """Says whether a signal ends at once what is being done, or is asked for after the step."""
        self._at_once = yes
        signals.defer(not yes)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self._at_once or (self._signum and signum == signal.SIGINT):
            signals.interrupt(signum)
        self._signum = signum

    def after(self, step: int) -> int:
        """Returns the signal's number if training must stop after this step, else 0."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            return signal.SIGTERM
        return self._signum


def fit(
    state: Any,
    batches: Iterator[Mapping[str, np.ndarray]],
    step_fn: Callable[[Any, Batch], tuple[Any, Metrics]],
    *,
    steps: int,
    shard_batch: Callable[[Mapping[str, np.ndarray]], Batch],
    hooks: Sequence[Hook] = (),
    measures: Sequence[Hook] = (),
    log_every: int = 10,
    checkpointer: Checkpointer | None = None,
    data_position: Callable[[], Mapping[str, Any]] = dict,
    extra: Callable[[], Mapping[str, Any]] = dict,
    resumed: Mapping[str, Any] | None = None,
    stop_at_data_end: bool = False,
    before_step: BeforeStep | None = None,
    after_step: AfterStep | None = None,
    finished: Callable[[], bool] = lambda: False,
    window: Window | None = None,
    saved: Callable[[Any], TrainState] | None = None,
    failing: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    speed: Speed | None = None,
) -> Any:
    """Trains until `steps` steps have been taken in all, those before a resumption included.

    Args:
      state: where to start; its buffers are gone afterwards. A `TrainState`, or what `step_fn` takes for it.
      batches: this process's rows of the batches from step `state.step` on.
      step_fn: from `compile_train_step`, or `compile_group_step`.
      shard_batch: host arrays to device arrays, an explicit transfer: an implicit one in the step is
        an error (JAX's transfer guard).
      hooks: called every `log_every` steps and after the last one, in this order.
      measures: called as the hooks are, but when a step that is to be saved is saved, since they take
        long; a signal ends them at once, and then training, and so does one that raises `Enough`.
      checkpointer: saves as often as its options say, after the last step, and when training is told to stop.
      data_position: where `batches` stands, asked for when a checkpoint is saved.
      extra: JSON-like, saved beside it.
      resumed: the `extra` that the checkpoint of `state` held, where it comes from one.
      stop_at_data_end: training ends where the batches do, as if that had been the last step asked for.
      before_step: gives each batch its last form; moves between host and devices must be explicit.
      after_step: called after every step, before what is due of logging and saving.
      finished: asked before every step; true ends training, as if the last step had been the last one asked for.
      window: of the metrics, already gone on from what `resumed` says; by default that of one run, which the first
        step that is not finite ends.
      speed: of the steps, for the logged lines; by default they say none.
      saved: what of the state a checkpoint holds, which is sure to be finite; by default the state is one run's, all of
        it is saved, and it is looked at before.
      failing: a context around all steps, which sees what ends them before a save that is under way is waited for:
        where several processes save, that one may wait for those that know of nothing yet.

    Returns:
      The state after the last step, saved and complete on disk where there is a checkpointer.

    Raises:
      Preempted: SIGTERM or Ctrl-C came; the step at hand was finished and saved.
      signals.Interrupted: one came before the first step was taken, or a second Ctrl-C.
      DivergedError: as many losses or gradients one after the other as the window allows, or what an update left, are
        not finite. No checkpoint of such a state is left in the list: those from the step before them on are taken out.
      UserError: a batch has no loss token, the batches ended too early, or the disk is full.
    """
    if log_every < 1:
        raise UserError(f"log_every is {log_every}; it must be at least 1.")
    window = window or MetricsAccumulator((resumed or {}).get(WINDOW))
    loop = _Loop(state, window, hooks, measures, checkpointer, data_position, extra, saved or _checked, speed)
    first = loop.saved + 1
    # Whatever ends training, a save that has begun is completed first.
    with StopRequest() as stop, contextlib.ExitStack() as stack:
        if checkpointer is not None:
            stack.callback(checkpointer.wait)
            stack.enter_context(_without_diverged(checkpointer))
        stack.enter_context(failing())
        for step in range(first, steps + 1):
            ended = finished()
            with loop.watch.measuring("data_wait"):
                batch = None if ended else next(batches, None)
            if batch is None:
                if not ended and not stop_at_data_end:
                    raise UserError(
                        f"The batches ended after step {step - 1} of {steps}; repeat the data or train fewer steps."
                    )
                if loop.logged < step - 1:
                    loop.log(step - 1)
                loop.save(step - 1)
                break
            with jax.transfer_guard("disallow"):
                given = shard_batch(batch)
                if before_step is not None:
                    given = before_step(step, loop.state, given)
                loop.state, metrics = step_fn(loop.state, given)
            stop.at_once(False)
            loop.window.add(step, metrics)
            if after_step is not None:
                instead = after_step(step, loop.state, metrics)
                loop.state = loop.state if instead is None else instead
            line = loop.log(step) if step % log_every == 0 or step == steps else None
            signum = stop.after(step)
            if signum or step == steps or (checkpointer is not None and checkpointer.options.due(step)):
                loop.save(step, due=not signum and step < steps)
            if line is not None and not signum and step < steps:
                try:
                    signum = loop.measure(step, line, stop)
                except Enough:
                    loop.save(step)
                    break
            if signum and step < steps:
                loop.save(step)
                raise Preempted(step, signum, saved=checkpointer is not None)
    return loop.state


class _Loop:
    """The state of training between its steps: the arrays, the open metrics window, what was logged and saved last."""

    def __init__(
        self,
        state: Any,
        window: Window,
        hooks: Sequence[Hook],
        measures: Sequence[Hook],
        checkpointer: Checkpointer | None,
        data_position: Callable[[], Mapping[str, Any]],
        extra: Callable[[], Mapping[str, Any]],
        saved: Callable[[Any], TrainState],
        speed: Speed | None,
    ) -> None:
        self.state, self.window, self._saved_part = state, window, saved
        self.logged = self.saved = self._lasting = int(np.max(jax.device_get(state.step)))
        self._hooks, self._measures = hooks, measures
        self._checkpointer, self._data_position, self._extra = checkpointer, data_position, extra
        self.watch, self._speed, self._said = Stopwatch(), speed, False

    def _note_wait(self, step: int, waited: float, seconds: float) -> None:
        """Says, once, that the last steps waited for data; the first ones always do, for the loader to begin."""
        if self.logged and not self._said and waited > MOST_WAIT * seconds and seconds > _LEAST_TOLD_S:
            self._said = True
            _LOG.warning(
                f"Training waited for data for {waited / seconds:.0%} of the time before step {step:,}. More processes may make "
                "batches (run.data_workers), or a faster disk hold the store."
            )

    def log(self, step: int) -> HostMetrics:
        """Closes the metrics window and calls the hooks with its line, which it returns."""
        line = self.window.flush()
        parts = self.watch.read()
        self._note_wait(step, parts["data_wait_seconds"], line["seconds"])
        if self._speed is not None:
            line["speed"] = {**self._speed(line), **parts}
        self.logged = step
        with self.window.paused():
            for hook in self._hooks:
                hook(step, line, self.state)
        return line

    def save(self, step: int, *, due: bool = False) -> None:
        """Begins to save the state, unless it is saved or there is no checkpointer. Only what is due need not last.

        A save that is merely due is left out while steps are being skipped: the weights have not changed since, and
        others may have to be gone back to.

        Raises:
          DivergedError: the state, or a loss on the way to it, is not finite.
        """
        if self._checkpointer is None or (self.saved if due else self._lasting) == step:
            return
        unfinished = self.window.state()  # also makes sure that training has not diverged up to here
        if due and self.window.in_a_row:
            _LOG.warning(
                f"No checkpoint of step {step}: the last {self.window.in_a_row:,} steps were skipped, as their loss or gradient "
                "is not finite, and the weights are still those from before them."
            )
            return
        lasting = not due or self._checkpointer.options.lasting(step)
        with self.window.paused(), self.watch.measuring("save"):
            state = self._saved_part(self.state)
            extra = {**self._extra(), WINDOW: unfinished}
            self._checkpointer.save(step, state, self._data_position(), extra, lasting=lasting)
        self.saved = step
        self._lasting = step if lasting else self._lasting

    def measure(self, step: int, line: HostMetrics, stop: StopRequest) -> int:
        """Calls the measures; returns the signal that ended them, or 0."""
        try:
            stop.at_once(True)
            with self.window.paused(), self.watch.measuring("evaluate"):
                for hook in self._measures:
                    hook(step, line, self.state)
        except signals.Interrupted as interrupted:
            return interrupted.signum
        finally:
            stop.at_once(False)
        return 0


def _checked(state: TrainState) -> TrainState:
    """Returns the state of one run, which its last update left whole.

    Raises:
      DivergedError: it did not.
    """
    wrong = destroyed(state)
    if wrong is not None:
        step = int(jax.device_get(state.step))
        raise DivergedError(step, wrong, bad=step)
    return state


@contextlib.contextmanager
def _without_diverged(checkpointer: Checkpointer) -> Iterator[None]:
    """Takes the checkpoint of a state that the next step's loss or gradient proves diverged out of the list."""
    try:
        yield
    except DivergedError as error:
        checkpointer.wait()
        aside, newest = "", checkpointer.latest_step()
        while newest is not None and newest >= error.bad:
            aside = f" The checkpoint of step {newest} holds the weights that caused it and is kept aside."
            newest = checkpointer.withdraw(newest, "diverged")
        kept = (
            "There is no checkpoint before that."
            if newest is None
            else f"The last good checkpoint is of step {newest}."
        )
        raise DivergedError(error.step, error.what, kept + aside, bad=error.bad) from None
