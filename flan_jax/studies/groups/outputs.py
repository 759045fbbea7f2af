"""The files that a group writes while it trains: each run's metrics, as that run alone writes them; and its progress."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from flan_jax.experiments.batches import sampling_report
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.setup import Built
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.train.grouped_metrics import GroupedMetrics
from flan_jax.train.grouped_state import GroupState
from flan_jax.train.hooks import MetricsWriter
from flan_jax.train.metrics_accumulator import HostMetrics


@dataclasses.dataclass(frozen=True)
class GroupProgress:
    """A group at a logged step.

    Attributes:
        step: steps taken.
        steps: of the runs.
        seconds: the steps since the last logged one took.
        losses: folder of each run that trains → its mean loss (nats a token) since the last logged step.
        diverged: folder of each run that diverged → the reason, in a sentence.
    """

    step: int
    steps: int
    seconds: float
    losses: Mapping[str, float]
    diverged: Mapping[str, str]


OnProgress = Callable[[GroupProgress], None]


class GroupOutputs:
    """Appends a line to ``metrics.jsonl`` of every run that took a step since the last line; a hook.

    Args:
        runs: of the group.
        streams: their batches.
        window: knows which runs have diverged.
        step: steps taken before; lines of later ones are dropped.
        on_progress: told of every logged step.
    """

    def __init__(
        self,
        runs: Sequence[Built],
        streams: Sequence[BatchStream],
        window: GroupedMetrics,
        step: int,
        on_progress: OnProgress,
    ) -> None:
        self._runs, self._window, self._on_progress = runs, window, on_progress
        self._writers = [_writer(run, stream, step) for run, stream in zip(runs, streams, strict=True)]

    def __call__(self, step: int, metrics: HostMetrics, state: GroupState, /) -> None:
        """Writes the lines of this step."""
        lines = metrics["runs"]
        for run, line in lines.items():
            own = dict(line)
            self._writers[run](own.pop("step"), own, state.runs)
        folders = [str(run.folder) for run in self._runs]
        self._on_progress(
            GroupProgress(
                step,
                self._runs[0].config.steps,
                metrics["seconds"],
                {folders[run]: line["loss"] for run, line in lines.items()},
                {folders[run]: why for run, why in self._window.diverged.items()},
            )
        )


def _writer(run: Built, stream: BatchStream, step: int) -> MetricsWriter:
    return MetricsWriter(
        run.folder / run_files.METRICS,
        run.data.train_names,
        resume_step=step,
        more=lambda: {"sampled": sampling_report(stream.sampling_stats())},
    )
