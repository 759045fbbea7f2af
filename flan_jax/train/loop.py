"""The loop around the step: feed, log, save, stop when told to."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax.errors import UserError
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.state import TrainState
from flan_jax.train.step import Batch, StepFn
from flan_jax.train.window import HostMetrics, MetricsWindow

WINDOW = "metrics_window"
"""Under this name a checkpoint's extra holds the unfinished metrics window."""


class Hook(Protocol):
    """Called in every process after each logged step, with host-side metrics (`MetricsWindow.take`)."""

    def __call__(self, step: int, metrics: HostMetrics, state: TrainState, /) -> None:
        """Does what it does; the state must not be kept, its buffers are donated to the next step."""


class Preempted(Exception):  # noqa: N818 - it is no error
    """Training was told to stop and did so after a whole step.

    Attributes:
      step: steps taken; where `saved` is true, also the newest checkpoint.
      exit_code: for the process: 75 after SIGTERM (saved: run again to continue), 130 after Ctrl-C
        and wherever nothing was saved.
    """

    def __init__(self, step: int, signum: int, saved: bool) -> None:
        what = "saved there; run the same command again to continue" if saved else "nothing was saved"
        super().__init__(f"Stopped by {signal.Signals(signum).name} after step {step}: {what}.")
        self.step, self.saved = step, saved
        self.exit_code = 75 if saved and signum == signal.SIGTERM else 130


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a question asked after every step.

    A second Ctrl-C interrupts at once. Where several processes train together they must stop after
    the same step: there the signal handler is JAX's own, and its preemption service agrees on the
    step (SIGTERM to any process suffices; Ctrl-C is not caught).
    """

    def __init__(self) -> None:
        self._signum = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self._signum and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._signum = signum

    def after(self, step: int) -> int:
        """Returns the signal's number if training must stop after this step, else 0."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            return signal.SIGTERM
        return self._signum


def fit(
    state: TrainState,
    batches: Iterator[Mapping[str, np.ndarray]],
    step_fn: StepFn,
    *,
    steps: int,
    shard_batch: Callable[[Mapping[str, np.ndarray]], Batch],
    hooks: Sequence[Hook] = (),
    log_every: int = 10,
    checkpointer: Checkpointer | None = None,
    save_every: int = 0,
    data_position: Callable[[], Mapping[str, Any]] = dict,
    extra: Callable[[], Mapping[str, Any]] = dict,
    resumed: Mapping[str, Any] | None = None,
    may_end: bool = False,
) -> TrainState:
    """Trains until `steps` steps have been taken in all, those before a resumption included.

    Args:
      state: where to start; its buffers are gone afterwards.
      batches: this process's rows of the batches from step `state.step` on.
      step_fn: from `compile_train_step`.
      shard_batch: host arrays to device arrays, an explicit transfer: an implicit one in the step is
        an error (JAX's transfer guard).
      hooks: called every `log_every` steps and after the last one, in this order.
      save_every: steps between checkpoints; one more is saved after the last step, and when training
        is told to stop. 0: only those.
      data_position: where `batches` stands, asked for when a checkpoint is saved.
      extra: JSON-like, saved beside it.
      resumed: the `extra` that the checkpoint of `state` held, where it comes from one.
      may_end: training ends where the batches do, as if that had been the last step asked for.

    Returns:
      The state after the last step, saved and complete on disk where there is a checkpointer.

    Raises:
      Preempted: SIGTERM or Ctrl-C came; the step at hand was finished and saved.
      UserError: the loss is not finite, a batch has no loss token, or the batches ended too early.
    """
    if log_every < 1 or save_every < 0:
        raise UserError(f"log_every is {log_every} and save_every {save_every}; they must be at least 1 and 0.")
    window = MetricsWindow((resumed or {}).get(WINDOW))
    first = int(jax.device_get(state.step)) + 1
    logged = saved = first - 1

    def log(step: int) -> None:
        nonlocal logged
        line, logged = window.take(), step
        with window.paused():
            for hook in hooks:
                hook(step, line, state)

    def save(step: int) -> None:
        nonlocal saved
        if checkpointer is not None:
            unfinished = window.state()  # also makes sure that no diverged state is saved
            with window.paused():
                checkpointer.save(step, state, data_position(), {**extra(), WINDOW: unfinished})
            saved = step

    # Whatever ends training, a save that has begun is completed first.
    with StopRequest() as stop, contextlib.ExitStack() as stack:
        if checkpointer is not None:
            stack.callback(checkpointer.wait)
        for step in range(first, steps + 1):
            batch = next(batches, None)
            if batch is None:
                if not may_end:
                    raise UserError(
                        f"The batches ended after step {step - 1} of {steps}; repeat the data or train fewer steps."
                    )
                if logged < step - 1:
                    log(step - 1)
                if saved < step - 1:
                    save(step - 1)
                break
            with jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, shard_batch(batch))
            window.add(step, metrics)
            signum = stop.after(step)
            if step % log_every == 0 or step == steps:
                log(step)
            if signum or step == steps or (save_every and step % save_every == 0):
                save(step)
            if signum and step < steps:
                raise Preempted(step, signum, saved=checkpointer is not None)
    return state
