"""A run's draws from its tasks: its batches, what was really drawn, weights and tasks that change in mid-run."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import TRAIN_SPLIT, RunData
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.feed.curriculum import CurriculumBatches
from flan_jax.feed.loader import PackedBatches
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.feed.staged import StagedBatches
from flan_jax.files import writing
from flan_jax.mixing.parts import known_part, parts
from flan_jax.mixing.stages import StageSchedule
from flan_jax.store.store import StoredTask, TokenStore
from flan_jax.train.hooks import forget_later
from flan_jax.train.metrics_accumulator import HostMetrics


class WeightsLog:
    """``weights.jsonl``: a line for every change of the weights, with the step of the run it was made after.

    What changes the weights of the mixture while the curriculum goes on holds after the curriculum, and its line says
    after which step: ``holds_after``.

    Args:
        path: made with its folder where it does not exist.
        resume_step: lines of later steps are dropped.
    """

    def __init__(self, path: Path, *, resume_step: int = 0) -> None:
        self._path = path
        if jax.process_index() == 0 and path.exists():
            forget_later(path, resume_step)

    def __call__(self, step: int, weights: Mapping[str, float], holds_after: int) -> None:
        """Notes, at ``step``, that batches after ``holds_after`` are drawn in these shares."""
        if jax.process_index() == 0:
            line = {"step": step, **({"holds_after": holds_after} if holds_after != step else {}), "weights": weights}
            with writing(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def of_loss(self, step: int, weights: Mapping[str, float]) -> None:
        """Notes that a unit's weight of the loss in ``step`` is this one; they sum to 1."""
        if jax.process_index() == 0:
            with writing(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "loss_weights": weights}) + "\n")


def make_batches(
    config: RunConfig,
    tasks: Sequence[StoredTask],
    weights: Mapping[str, float],
    curriculum: Mapping[str, float],
    *,
    on_weights: WeightsLog | None = None,
    schedule: StageSchedule | None = None,
) -> BatchStream:
    """Makes a run's batches from the first step on, the rows of this process.

    Args:
        config: the run.
        tasks: what to draw from.
        weights: share of draws by task name.
        curriculum: the same in the curriculum; empty for none.
        on_weights: told of every change of the weights.
        schedule: by which the weights of the tasks change; ``None`` for none.

    Raises:
        UserError: the run begins with a curriculum and the mixture has none.
    """
    make = functools.partial(
        PackedBatches,
        tasks,
        config=config.feed,
        seed=config.seed,
        lengths=config.tokenize.lengths,
        decoder_only=config.model.decoder_only,
        input_start=config.model.input_start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    first_step = config.feed.curriculum_steps
    mixture = make([weights[task.name] for task in tasks], on_weights=on_weights, first_step=first_step)
    if not config.feed.curriculum_steps:
        return mixture if schedule is None else StagedBatches(mixture, schedule)
    if not curriculum:
        raise UserError(
            f"run.curriculum_steps is {config.feed.curriculum_steps}, but mixture {config.mixture!r} declares no curriculum. Set it to 0."
        )
    both = CurriculumBatches(make([curriculum[task.name] for task in tasks], on_weights=on_weights), mixture)
    return both if schedule is None else StagedBatches(both, schedule)


def stage_schedule(config: RunConfig, data: RunData) -> StageSchedule | None:
    """Makes the schedule of a run's stages over its tasks; ``None`` for a run without stages.

    Raises:
        UserError: a part that the run does not draw from, or two that share a task.
    """
    feed, known = config.feed, parts(data.mixture)
    if not feed.stages:
        return None
    own, names = np.array(list(data.weights.values())), list(data.weights)

    def spread(part: str) -> np.ndarray:
        members = set(known_part(data.mixture, known, part, "run.stages"))
        kept = own * [name in members for name in names]
        if not kept.any():
            raise UserError(
                f"run.stages names {part!r}, whose tasks mixture {data.mixture.name!r} leaves out with the rate 0. Leave it out."
            )
        return kept / kept.sum()

    return StageSchedule.of(feed.stages, feed.stage_shape, feed.stage_interval, spread)


def sampling_report(stats: SamplingStats) -> dict[str, dict[str, float]]:
    """Tabulates by task: examples and tokens drawn since the run began, epochs, and shares asked for and realised."""
    columns = {
        "examples": stats.examples.tolist(),
        "tokens": stats.tokens.tolist(),
        "epochs": _rounded(stats.epochs),
        "requested": _rounded(stats.requested),
        "share": _rounded(stats.shares),
        "token_share": _rounded(stats.token_shares),
    }
    return {name: {column: values[i] for column, values in columns.items()} for i, name in enumerate(stats.names)}


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


# --- tasks that change between two starts of a run ---------------------------------------------------------------------

Table = Mapping[str, Mapping[str, Any]]
"""A run's tasks as its manifest has them: by name, with ``fingerprint``, ``weight`` and ``curriculum``."""


@dataclasses.dataclass(frozen=True)
class DataChange:
    """The difference between the tasks of a run and those that it was trained on until now.

    Attributes:
        added, removed: names of tasks.
        altered: tasks that were prepared from something else: records, templates, vocabulary, lengths.
        reweighted: tasks whose weight changed, none of the above.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    altered: tuple[str, ...]
    reweighted: tuple[str, ...]

    @classmethod
    def between(cls, before: Table, after: Table) -> "DataChange":
        """Compares two tables."""
        both = [name for name in after if name in before]
        altered = [name for name in both if before[name]["fingerprint"] != after[name]["fingerprint"]]
        return cls(
            added=tuple(name for name in after if name not in before),
            removed=tuple(name for name in before if name not in after),
            altered=tuple(altered),
            reweighted=tuple(
                name
                for name in both
                if name not in altered and any(before[name].get(key) != after[name].get(key) for key in _DRAWN_BY)
            ),
        )

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))

    def __str__(self) -> str:
        parts = []
        for what, names in dataclasses.asdict(self).items():
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                parts.append(f"{what}: {', '.join(names[:3])}{more}")
        return "; ".join(parts)


_DRAWN_BY = ("weight", "curriculum")


def continue_position(
    batches: BatchStream,
    position: Mapping[str, Any],
    config: RunConfig,
    data: RunData,
    ours: Table,
    earlier: Sequence[Table],
) -> Table:
    """Puts ``batches`` where a checkpoint's ``position`` says, carrying it over where it belongs to other tasks.

    Args:
        batches: at their beginning.
        position: as saved.
        config: the run.
        data: the run's data as it is now.
        ours: its table.
        earlier: the tables that the run had before, the newest first.

    Returns:
        The table that the position belongs to.

    Raises:
        UserError: it belongs to none of them, or the store no longer holds what it belongs to.
    """
    try:
        batches.set_state(position)
        return ours
    except UserError:
        if not earlier:
            raise
    failure: UserError | None = None
    for table in earlier:
        old = make_batches(
            config,
            [_opened(data.store, name, entry["fingerprint"]) for name, entry in table.items()],
            {name: entry["weight"] for name, entry in table.items()},
            {name: entry.get("curriculum", 0.0) for name, entry in table.items()},
        )
        try:
            old.set_state(position)
            progress = old.progress()
        except UserError as error:
            failure = error
            continue
        finally:
            old.close()
        batches.continue_from(progress)
        return table
    assert failure is not None
    raise failure


def _opened(store: TokenStore, name: str, fingerprint: str) -> StoredTask:
    try:
        return store.open(name, TRAIN_SPLIT, fingerprint)
    except UserError as error:
        raise UserError(
            f"What the run was trained on until now is no longer in the store, so its position cannot be carried over "
            f"to the changed tasks ({error}) Restore it, or start a new run with INITIAL_CHECKPOINT_PATH."
        ) from error


def reordered_window(window: Mapping[str, Any], before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """Reorders the per-task sums of an unfinished metrics window to other tasks; new ones are 0."""
    place = {name: index for index, name in enumerate(before)}
    sums = {
        name: [value[place[task]] if task in place else 0.0 for task in after] if isinstance(value, list) else value
        for name, value in window.get("sums", {}).items()
    }
    return {**window, "sums": sums}


Reweighting = Callable[[int, HostMetrics], Mapping[str, float] | None]
"""Called as ``reweight(step, metrics)`` after every logged step, in every process alike. ``metrics["task_loss"]``
holds the mean loss of each task since the last one, in the order of the tasks. Returns new shares by task, or
``None`` to leave them as they are."""


class Reweight:
    """A hook that asks for new weights at every logged step and hands them to the batches."""

    def __init__(self, batches: BatchStream, ask: Reweighting) -> None:
        self._batches = batches
        self._ask = ask

    def __call__(self, step: int, metrics: HostMetrics, state: Any, /) -> None:
        """Sets what it is told; nothing for ``None``."""
        weights = self._ask(step, metrics)
        if weights is not None:
            self._batches.set_weights(weights)
