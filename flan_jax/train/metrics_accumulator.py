"""Metrics of the steps since the last logged one, averaged on the host.

Steps are not waited for: their metrics stay on the devices until a line is due. The averages are
summed in one fixed order in double precision, and an unfinished window travels in the checkpoint, so
that an interrupted run logs the very numbers of one that was never interrupted.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from flan_jax.errors import UserError
from flan_jax.train.finite import DivergedError

HostMetrics = dict[str, Any]
"""Of one logged line: Python floats, and float64 arrays [K] for what is per task."""

_PER_TOKEN = ("loss", "z_loss", "accuracy")
_SUMMED = ("weight", "tokens", "task_weight")
_MEAN = ("grad_norm",)
_LAST = ("learning_rate",)
_AHEAD = 2
"""Steps that the host may be ahead of the devices."""
_MOST_PENDING = 128


class MetricsAccumulator:
    """Collects what `compile_train_step`'s function returns, step after step.

    Args:
      saved: what `state` returned, to go on from there.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        saved = saved or {}
        self._steps: int = saved.get("steps", 0)
        self._sums: dict[str, Any] = {
            name: np.asarray(value) if isinstance(value, list) else value
            for name, value in saved.get("sums", {}).items()
        }
        self._pending: list[tuple[int, Mapping[str, jax.Array]]] = []
        self._began = time.monotonic()

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Notes the metrics of a step that may still be computing.

        Waits for the step before the last, so that the host never runs more than two steps ahead
        and the batches it has put on the devices never number more than that. What is pending is
        fetched now and then, so that it does not grow with the steps between two logged lines.

        Raises:
          UserError: as `_fetch`.
        """
        self._pending.append((step, metrics))
        if len(self._pending) > _AHEAD:
            jax.block_until_ready(self._pending[-1 - _AHEAD][1]["loss"])
        if len(self._pending) >= _MOST_PENDING:
            self._fetch(but=_AHEAD)

    def _fetch(self, but: int = 0) -> None:
        """Fetches what is pending, but for the last steps, which may still be computing.

        Raises:
          UserError: a step's batch had no loss token, or its loss or gradient is not finite.
        """
        fetched = len(self._pending) - but
        pending, self._pending = self._pending[:fetched], self._pending[fetched:]
        for (step, _), metrics in zip(pending, jax.device_get([metrics for _, metrics in pending]), strict=True):
            _check_finite(step, metrics)
            values = {name: np.asarray(value, np.float64) for name, value in metrics.items()}
            terms = {name: values[name] * values["weight"] for name in _PER_TOKEN}
            terms |= {name: values[name] for name in (*_SUMMED, *_MEAN)}
            terms["task_loss"] = values["task_loss"] * values["task_weight"]
            self._sums = {name: self._sums.get(name, 0.0) + term for name, term in terms.items()}
            self._sums |= {name: values[name] for name in _LAST}
            self._steps += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves what happens inside (hooks, saving) out of the window's `seconds`."""
        paused_at = time.monotonic()
        yield
        self._began += time.monotonic() - paused_at

    def flush(self) -> HostMetrics:
        """Returns the window's averages and begins the next one.

        `loss`, `z_loss` and `accuracy` are means over loss tokens, `task_loss` over each task's own
        (NaN for a task without any); `weight`, `tokens` and `task_weight` are totals; `grad_norm` is
        the mean over steps, `learning_rate` that of the last step; `steps` are the steps in the
        window and `seconds` the time they took, what was `paused` left out.
        """
        self._fetch()
        sums, now = self._sums, time.monotonic()
        line: HostMetrics = {name: float(sums[name] / sums["weight"]) for name in _PER_TOKEN}
        line |= {name: float(sums[name] / self._steps) for name in _MEAN}
        line |= {name: float(sums[name]) for name in (*_LAST, "weight", "tokens")}
        weight = np.asarray(sums["task_weight"])
        line["task_loss"] = np.divide(sums["task_loss"], weight, out=np.full(weight.shape, np.nan), where=weight > 0)
        line |= {"task_weight": weight, "steps": self._steps, "seconds": now - self._began}
        self._steps, self._sums, self._began = 0, {}, now
        return line

    def state(self) -> dict[str, Any]:
        """Returns the unfinished window as JSON (exact: floats are written to their last digit)."""
        self._fetch()
        return {"steps": self._steps, "sums": {name: np.asarray(value).tolist() for name, value in self._sums.items()}}


def _check_finite(step: int, metrics: Mapping[str, np.ndarray]) -> None:
    if metrics["weight"] == 0:
        raise UserError(f"The batch of step {step} has no loss token: every decoder_loss_weights entry is 0.")
    if not (np.isfinite(metrics["loss"]) and np.isfinite(metrics["grad_norm"])):
        raise DivergedError(
            step,
            f"the loss is {metrics['loss']:g} and the gradient norm {metrics['grad_norm']:g} at a learning rate of "
            f"{metrics['learning_rate']:g}",
        )
