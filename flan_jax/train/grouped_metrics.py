"""Metrics of runs that are trained together: a window for each run, and the reasons for which runs have stopped.

Shapes: R runs; K tasks, the most that any of them has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.train.finite import TOO_LARGE, DivergedError
from flan_jax.train.metrics_accumulator import (
    HostMetrics,
    MetricsAccumulator,
    PendingMetrics,
    diverged,
    no_loss_token,
    step_terms,
)


class GroupedMetrics(PendingMetrics):
    """Collects what `compile_group_step`'s function returns, each run's numbers as it would log them alone.

    Args:
      tasks: the number of tasks of each run.
      saved: what `state` returned, to go on from there.

    Attributes:
      stopped: run → why it takes no more steps, in a sentence, as of the last step fetched; "" where its data ended.
      steps_taken: [R] int64, the step of each run as of then.
      skipped: [R] int64, the last steps of each run that were skipped, one after the other, as of then.
      in_a_row: 0: a checkpoint is due whatever single runs do.
    """

    in_a_row = 0

    def __init__(self, tasks: Sequence[int], saved: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        saved = saved or {}
        self._tasks = tuple(tasks)
        runs = len(self._tasks)
        self.stopped: dict[int, str] = {int(run): why for run, why in saved.get("stopped", {}).items()}
        self.steps_taken = np.array(saved.get("steps_taken", [0] * runs), np.int64)
        self.skipped = np.array(saved.get("skipped", [0] * runs), np.int64)
        self._ended: set[int] = set(saved.get("ended", ()))
        self._steps = np.array(saved.get("steps", [0] * runs), np.int64)
        self._sums = {name: np.array(value, np.float64) for name, value in saved.get("sums", {}).items()}

    def end(self, run: int) -> None:
        """Says that a run has no more batches: that its next one has no loss token is no fault."""
        self._ended.add(run)

    @property
    def diverged(self) -> dict[int, str]:
        """The runs that have stopped for another reason than the end of their data, each with it."""
        return {run: why for run, why in self.stopped.items() if why}

    def _note(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
        metrics = {name: values[: len(self._tasks)] for name, values in metrics.items()}
        taken = metrics["taken"].astype(bool)
        skipped = (metrics["skipped"] > 0) & (metrics["weight"] > 0)
        live = [run not in self.stopped for run in range(len(taken))]
        self.skipped = np.where(live, np.where(skipped, self.skipped + 1, 0), self.skipped)
        for run in np.flatnonzero(~taken).tolist():
            if run not in self.stopped:
                own = {name: values[run] for name, values in metrics.items()}
                self.stopped[run] = (
                    "" if run in self._ended and own["weight"] == 0 else _reason(step, own, int(self.skipped[run]))
                )
        terms, last = step_terms({name: values for name, values in metrics.items() if name != "taken"})
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + np.where(_like(taken, term), term, 0.0)
        for name, value in last.items():
            self._sums[name] = np.where(taken, value, self._sums.get(name, 0.0))
        self._steps += taken
        self.steps_taken[taken] = step

    def flush(self) -> HostMetrics:
        """Returns, under `runs`, the line of each run that took a step in the window, and begins the next one.

        `runs` maps a run to what `MetricsAccumulator.flush` returns of it, `step` beside that: the last one that it
        took, and `seconds` its share of the time. A run that diverged in the window has no line, as a run alone has none.
        Beside them are `steps` and `seconds` of the window.
        """
        self._fetch()
        seconds, diverged = self._seconds(), self.diverged
        lines: dict[int, HostMetrics] = {}
        trained = np.flatnonzero(self._steps).tolist()
        for run in trained:
            if run not in diverged:
                window = MetricsAccumulator({"steps": int(self._steps[run]), "sums": self._sums_of(run)})
                share = {"seconds": seconds / len(trained), "step": int(self.steps_taken[run])}
                lines[run] = {**window.flush(), **share}
        steps = int(self._steps.max(initial=0))
        self._steps, self._sums = np.zeros_like(self._steps), {}
        return {"runs": lines, "steps": steps, "seconds": seconds}

    def window_of(self, run: int) -> dict[str, Any]:
        """Returns the unfinished window of one run, as `MetricsAccumulator.state` has it."""
        self._fetch()
        sums = {name: np.asarray(value).tolist() for name, value in self._sums_of(run).items()}
        window = {"steps": int(self._steps[run]), "sums": sums if self._steps[run] else {}}
        return {**window, **({"in_a_row": int(self.skipped[run])} if self.skipped[run] else {})}

    def _sums_of(self, run: int) -> dict[str, Any]:
        return {
            name: values[run][: self._tasks[run]].copy() if values.ndim > 1 else float(values[run])
            for name, values in self._sums.items()
        }

    def state(self) -> dict[str, Any]:
        """Returns the unfinished windows, and what has stopped, as JSON (exact: floats are written to their last digit)."""
        self._fetch()
        return {
            "steps": self._steps.tolist(),
            "sums": {name: values.tolist() for name, values in self._sums.items()},
            "stopped": {str(run): why for run, why in self.stopped.items()},
            "steps_taken": self.steps_taken.tolist(),
            "ended": sorted(self._ended),
            "skipped": self.skipped.tolist(),
        }


def _like(taken: np.ndarray, term: np.ndarray) -> np.ndarray:
    """[R] as [R, 1] where the term has tasks."""
    return taken.reshape(-1, *[1] * (term.ndim - 1))


def _reason(step: int, metrics: Mapping[str, Any], skipped: int) -> str:
    """Says why a run did not take a step, in a sentence."""
    if metrics["weight"] == 0:
        return no_loss_token(step)
    if not skipped:
        what = f"after its update a number is not finite, or a weight larger than {TOO_LARGE:g}"
        return str(DivergedError(step, what, bad=step))
    return str(diverged(step, metrics, skipped))
