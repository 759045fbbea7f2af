"""A description of a study's runs, before any of them runs: what they will read and cost."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.batches import make_batches, stage_schedule
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data
from flan_jax.studies.expand import run_config
from flan_jax.studies.plan import RunPlan


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """One run, as it is planned.

    Attributes:
        name: of the run.
        levels: factor → level.
        weights: unit → share; empty where weights are not varied.
        replicate: of its point; 0 for the first.
        steps: that it trains.
        positions: tokens of its rows, padding included: steps × rows × (inputs + targets).
        tokens: of the examples that it draws, inputs and targets; ``None`` where not all of its tasks are prepared.
        repeats: task → how often it is gone through; empty where not all of its tasks are prepared.
        seconds: that its training takes at the speed that was given; ``None`` without one.
    """

    name: str
    levels: Mapping[str, Any]
    weights: Mapping[str, float]
    replicate: int
    steps: int
    positions: int
    tokens: int | None = None
    repeats: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def most_repeated(self) -> tuple[str, float]:
        """The task that is gone through most often, and how often; ``("", 0.0)`` where that is not known."""
        return max(self.repeats.items(), key=lambda pair: pair[1], default=("", 0.0))

    def as_dict(self) -> dict[str, Any]:
        """Returns the row as JSON would hold it."""
        task, times = self.most_repeated
        return {**dataclasses.asdict(self), "most_repeated": task, "most_repeats": times}


def describe(
    plans: Sequence[RunPlan],
    base: RunConfig,
    study_dir: Path | str,
    *,
    tokens_per_second: float = 0.0,
    progress: Callable[[int], None] = lambda done: None,
) -> list[PlanRow]:
    """Tells of every run what it reads: exactly, where its tasks are prepared, as positions in the data are arithmetic.

    Args:
        plans: the runs.
        base: the study's base run.
        study_dir: the study's folder, whose store is looked into; nothing is written.
        tokens_per_second: positions that training takes a second, padding included; 0 where that is not known.
        progress: told of the number of runs that are described.

    Raises:
        UserError: a run cannot be what its levels say.
    """
    rows = []
    for done, plan in enumerate(plans, start=1):
        config = run_config(base, plan, study_dir)
        positions = config.steps * config.feed.batch_size * sum(config.tokenize.lengths.values())
        tokens, repeats = _drawn(config)
        rows.append(
            PlanRow(
                plan.name,
                plan.levels,
                plan.weights,
                plan.replicate,
                config.steps,
                positions,
                tokens,
                repeats,
                positions / tokens_per_second if tokens_per_second else None,
            )
        )
        progress(done)
    return rows


def _drawn(config: RunConfig) -> tuple[int | None, dict[str, float]]:
    """Tokens that a run draws and how often it goes through each task; ``None`` and nothing before it is prepared."""
    try:
        data = open_data(config)
    except UserError:  # what is not prepared yet; what cannot be at all is refused when it is
        return None, {}
    schedule = stage_schedule(config, data)
    batches = make_batches(config, data.train, data.weights, data.curriculum, schedule=schedule)
    try:
        batches.seek(config.steps)
        stats = batches.sampling_stats()
    finally:
        batches.close()
    names = [str(name) for name in stats.names]
    return int(stats.tokens.sum()), dict(zip(names, map(float, stats.epochs.tolist()), strict=True))


def totals(rows: Sequence[PlanRow]) -> dict[str, Any]:
    """Sums up: runs, positions, tokens and seconds; ``None`` for a sum that a run's number is missing from."""
    tokens = [row.tokens for row in rows if row.tokens is not None]
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return {
        "runs": len(rows),
        "points": sum(row.replicate == 0 for row in rows),
        "positions": sum(row.positions for row in rows),
        "tokens": sum(tokens) if len(tokens) == len(rows) else None,
        "seconds": sum(seconds) if len(seconds) == len(rows) else None,
    }
