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
_SUMMED = ("weight", "tokens", "task_weight", "skipped")
_OF_SKIPPED = ("tokens", "skipped")
"""What a step that was skipped adds: all else of it may be no number."""
_MEAN = ("grad_norm",)
_LAST = ("learning_rate", "param_norm")
_AHEAD = 2
"""Steps that the host may be ahead of the devices."""
_MOST_PENDING = 128


class PendingMetrics:
    """The metrics of steps that may still be computing, fetched now and then and noted in their order."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, Mapping[str, jax.Array]]] = []
        self._began = time.monotonic()

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Notes the metrics of a step that may still be computing.

        Waits for the step before the last, so that the host never runs more than two steps ahead
        and the batches it has put on the devices never number more than that. What is pending is
        fetched now and then, so that it does not grow with the steps between two logged lines.

        Raises:
          UserError: as `_note`.
        """
        self._pending.append((step, metrics))
        if len(self._pending) > _AHEAD:
            jax.block_until_ready(self._pending[-1 - _AHEAD][1]["loss"])
        if len(self._pending) >= _MOST_PENDING:
            self._fetch(but=_AHEAD)

    def _fetch(self, but: int = 0) -> None:
        """Fetches what is pending, but for the last steps, which may still be computing.

        Raises:
          UserError: as `_note`.
        """
        fetched = len(self._pending) - but
        pending, self._pending = self._pending[:fetched], self._pending[fetched:]
        for (step, _), metrics in zip(pending, jax.device_get([metrics for _, metrics in pending]), strict=True):
            self._note(step, metrics)

    def _note(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Takes the metrics of the next step, on the host."""
        raise NotImplementedError

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves what happens inside (hooks, saving) out of the window's `seconds`."""
        paused_at = time.monotonic()
        yield
        self._began += time.monotonic() - paused_at

    def _seconds(self) -> float:
        """Returns the seconds since this was last asked, what was `paused` left out."""
        now = time.monotonic()
        began, self._began = self._began, now
        return now - began


class MetricsAccumulator(PendingMetrics):
    """Collects what `compile_train_step`'s function returns, step after step.

    Args:
      saved: what `state` returned, to go on from there.
      most_skipped: so many steps in a row whose loss or gradient is not finite end training.

    Attributes:
      in_a_row: the last steps fetched that were skipped, one after the other.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None, *, most_skipped: int = 1) -> None:
        super().__init__()
        saved = saved or {}
        self._most_skipped = most_skipped
        self.in_a_row: int = saved.get("in_a_row", 0)
        self._steps: int = saved.get("steps", 0)
        self._sums: dict[str, Any] = {
            name: np.asarray(value) if isinstance(value, list) else value
            for name, value in saved.get("sums", {}).items()
        }

    def _note(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
        """Adds a step's metrics up.

        Raises:
          UserError: its batch had no loss token, or as many steps as may be were skipped one after the other.
        """
        if metrics["weight"] == 0:
            raise UserError(no_loss_token(step))
        self.in_a_row = self.in_a_row + 1 if metrics["skipped"] else 0
        if self.in_a_row >= self._most_skipped:
            raise diverged(step, metrics, self.in_a_row)
        terms, last = step_terms(metrics)
        self._sums = {name: self._sums.get(name, 0.0) + term for name, term in terms.items()} | last
        self._steps += 1

    def flush(self) -> HostMetrics:
        """Returns the window's averages and begins the next one.

        `loss`, `z_loss` and `accuracy` are means over loss tokens, `task_loss` over each task's own
        (NaN for a task without any); `weight`, `tokens` and `task_weight` are totals; `grad_norm` is
        the mean over steps, `learning_rate` and `param_norm` those of the last step; `steps` are the steps in the
        window, `skipped` those of them that changed nothing, which count for `tokens` alone, and
        `seconds` the time they took, what was `paused` left out. Of a window whose steps were all
        skipped the means are NaN.
        """
        self._fetch()
        sums = {"skipped": 0.0, **self._sums}
        counted = {**dict.fromkeys(_PER_TOKEN, sums["weight"]), **dict.fromkeys(_MEAN, self._steps - sums["skipped"])}
        line: HostMetrics = {
            name: float(sums[name] / count) if count else float("nan") for name, count in counted.items()
        }
        line |= {name: float(sums[name]) for name in (*_LAST, "weight", "tokens")}
        line["skipped"] = int(sums["skipped"])
        weight = np.asarray(sums["task_weight"])
        line["task_loss"] = np.divide(sums["task_loss"], weight, out=np.full(weight.shape, np.nan), where=weight > 0)
        line |= {"task_weight": weight, "steps": self._steps, "seconds": self._seconds()}
        self._steps, self._sums = 0, {}
        return line

    def state(self) -> dict[str, Any]:
        """Returns the unfinished window as JSON (exact: floats are written to their last digit)."""
        self._fetch()
        sums = {name: np.asarray(value).tolist() for name, value in self._sums.items()}
        return {"steps": self._steps, "sums": sums, **({"in_a_row": self.in_a_row} if self.in_a_row else {})}


def step_terms(metrics: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns what a step adds to a window's sums, in double precision, and what it replaces; of any leading axes.

    Args:
      metrics: of one step, or of one step of each of several runs: with a leading axis.
    """
    values = {name: np.asarray(value, np.float64) for name, value in metrics.items()}
    with np.errstate(invalid="ignore", over="ignore"):  # of what was computed in vain
        terms = {name: values[name] * values["weight"] for name in _PER_TOKEN}
    terms |= {name: values[name] for name in (*_SUMMED, *_MEAN)}
    terms["task_loss"] = values["task_loss"] * values["task_weight"]
    took = np.asarray(values["skipped"] == 0)
    for name in set(terms) - set(_OF_SKIPPED):
        terms[name] = np.where(took.reshape((*took.shape, *[1] * (terms[name].ndim - took.ndim))), terms[name], 0.0)
    return terms, {name: values[name] for name in _LAST}


def diverged(step: int, metrics: Mapping[str, Any], in_a_row: int) -> DivergedError:
    """Makes the error that ends a run whose last steps were all skipped; the weights before them are the bad ones."""
    again = f", and the {in_a_row - 1:,} steps before it were skipped for the same reason" if in_a_row > 1 else ""
    return DivergedError(step, not_finite_step(metrics) + again, bad=step - in_a_row)


def no_loss_token(step: int) -> str:
    """Says that a step's batch has nothing to learn from, in a sentence."""
    return f"The batch of step {step} has no loss token: every decoder_loss_weights entry is 0."


def not_finite_step(metrics: Mapping[str, Any]) -> str:
    """Says what a diverged step computed, in a few words."""
    return (
        f"the loss is {metrics['loss']:g} and the gradient norm {metrics['grad_norm']:g} at a learning rate of "
        f"{metrics['learning_rate']:g}"
    )
