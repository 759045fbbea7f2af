"""Packed global batches of a mixture, prefetched by grain, resumable from a few integers.

The rows of a batch do not depend on the number of hosts; each host assembles its own part only.
"""

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.batch_stream import BatchExample, TaskProgress, Weights
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.consumed import consumed_before
from flan_jax.feed.grain_dataset import BatchDataset, CountedBatch, StreamConfig, prefetched
from flan_jax.feed.layout import Batch, RowLayout
from flan_jax.feed.sampler import SamplerStart
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.feed.saved_position import FIRST_STEP, PART, Part, checked_position, decode_part, encode_part
from flan_jax.store.store import StoredTask

__all__ = ["Batch", "PackedBatches", "SamplingStats"]


class PackedBatches(Iterator[Batch]):
    """Iterates over the batches of a mixture, endlessly unless exhausted tasks end it; a ``BatchStream``.

    Each batch is a dictionary with the keys of ``RowLayout.keys``: ``encoder_*`` [rows, inputs] and
    ``decoder_*`` [rows, targets], or ``decoder_*`` [rows, inputs + targets] for a decoder alone; int32
    but for ``decoder_loss_weights`` (float32). ``rows`` is ``batch_size / process_count``.

    The batch of step s is a function of tasks, weights, seed, lengths and ``config`` only.

    Args:
        tasks: prepared tasks; ``decoder_task_ids`` counts them from 0 in this order.
        weights: [tasks] shares of the draws, normalized here; 0 leaves a task out.
        config: how examples become batches. Its curriculum is a stream of its own (``CurriculumBatches``).
        seed: another seed gives another order.
        lengths: ``{"inputs": …, "targets": …}`` in tokens.
        decoder_only: inputs and targets as one sequence of ``inputs + targets`` tokens.
        input_start: ids in front of every example's inputs, as in ``RowLayout``.
        process_index: this host.
        process_count: number of hosts; must divide ``config.batch_size``.
        prefetch: batches made ahead by another thread (or by each worker); 0 makes each when it is
            asked for.
        on_weights: called as ``on_weights(step, {task: share}, holds_after)`` after the step of the run at which
            ``set_weights`` was called or a task was gone through and dropped, with the step after which batches
            are drawn in these shares: the same, unless other batches come before these.
        first_step: the run's step at which these batches begin, where others come before them.

    Raises:
        UserError: unusable weights, sizes or lengths, or a task with examples longer than a row.
    """

    def __init__(
        self,
        tasks: Sequence[StoredTask],
        weights: Sequence[float] | np.ndarray,
        config: FeedConfig,
        *,
        seed: int,
        lengths: Mapping[str, int],
        decoder_only: bool = False,
        input_start: tuple[int, ...] = (),
        process_index: int = 0,
        process_count: int = 1,
        prefetch: int = 2,
        on_weights: Callable[[int, dict[str, float], int], None] | None = None,
        first_step: int = 0,
    ) -> None:
        layout = RowLayout(lengths.get("inputs", 0), lengths.get("targets", 0), decoder_only, config.pack, input_start)
        if config.batch_size % process_count:
            raise UserError(
                f"BATCH_SIZE={config.batch_size} must be a multiple of the number of hosts, {process_count}."
            )
        if not 0 <= process_index < process_count:
            raise ValueError(f"process_index={process_index} is not below process_count={process_count}")
        if prefetch < 0:
            raise UserError(f"{prefetch} prefetched batches: they must be at least 0.")
        self._names = tuple(task.name for task in tasks)
        self._batch_size = config.batch_size
        share = config.batch_size // process_count
        self._host_rows = (process_index * share, (process_index + 1) * share)
        self._prefetch = prefetch
        self._workers = config.data_workers
        self._on_weights = on_weights
        self._initial_config = StreamConfig(tuple(tasks), np.asarray(weights, np.float64), seed, layout, config)
        self._config = self._initial_config
        self._row_index = self._config.row_index()
        self._digests = self._row_index.digests(tasks)
        self.first_step = first_step
        self._step, self._row, self._part_start = first_step, 0, first_step
        self._earlier_stats = self._zero_stats()
        self._counts: np.ndarray | None = np.zeros((3, len(tasks)), np.int64)
        # grain's iterator stops its thread when it is deleted, which fails once the interpreter is being
        # torn down. It is held where it can be let go of before: at the latest just before exit.
        self._iterators: list[grain.DatasetIterator[CountedBatch]] = []
        self._finalizer = weakref.finalize(self, _close_all, self._iterators)

    def __iter__(self) -> "PackedBatches":
        return self

    def __next__(self) -> Batch:
        phase = self._phase() if self._on_weights else 0
        batch, counts = next(self._iterator())
        self._step += 1
        self._row += self._batch_size
        if self._counts is not None:
            self._counts += counts
        if self._on_weights and self._phase() != phase:
            self._on_weights(self._step, self.weights, self._step)
        return {name: batch[name] for name in self._config.layout.keys}  # other processes hand them over sorted

    @property
    def step(self) -> int:
        """Batches consumed since the beginning of the run."""
        return self._step

    @property
    def weights(self) -> dict[str, float]:
        """The shares of draws in force, by task; they sum to 1. A task that dropped out has 0."""
        shares = self._row_index.sampler.shares_at(self._consumed())
        return dict(zip(self._names, shares.tolist(), strict=True))

    @property
    def shares_of_mixture(self) -> dict[str, float]:
        """The shares of draws that these batches were made with, by task; they sum to 1."""
        weights = self._initial_config.weights
        return dict(zip(self._names, (weights / weights.sum()).tolist(), strict=True))

    def _consumed(self) -> int:
        """Examples consumed in this part of the run."""
        return int(self._part_counts()[0].sum())

    def _phase(self) -> int:
        return self._row_index.sampler.phase(self._consumed()) if self._config.feed.exhausted == "drop" else 0

    # --- position ------------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Returns the position after the last batch consumed, as JSON values.

        A few integers; after ``set_weights`` also those weights and, by task, what was drawn before them;
        after a task dropped out also the shares in force, which follow from the rest.
        """
        # Known once the first window is packed; saved, so that a restored run need not pack it again.
        rows, own = self._row_index.cached_capacity or (0, 0)
        state: dict[str, Any] = {"step": self._step, "row": self._row, "window_rows": rows, "window_own": own}
        state |= self._digests
        if self.first_step:
            state[FIRST_STEP] = self.first_step
        if self._phase():
            state["in_force"] = self.weights
        if self._config.start is not None:
            part = Part(self._config.weights, self._config.start, self._earlier_stats, self._part_start)
            state[PART] = encode_part(part)
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores the position of ``get_state``, on any number of hosts.

        Raises:
            UserError: the state belongs to other tasks, weights, seed or lengths, or is none.
        """
        state = checked_position(state, self._digests)
        # Positions once counted from the first of these batches, whatever came before them.
        before_these = self.first_step - int(state.get(FIRST_STEP, 0))
        if PART in state:
            part = decode_part(state[PART], self._zero_stats())
            config = dataclasses.replace(self._initial_config, weights=part.weights, start=part.start)
            self._start_part(config, part.earlier_stats, part.step + before_these)
        else:
            self._start_part(self._initial_config, self._zero_stats(), self.first_step)
        if state["window_rows"]:
            self._row_index.set_capacity(int(state["window_rows"]), int(state["window_own"]))
        self._move_to(int(state["step"]) + before_these, int(state["row"]))

    def seek(self, step: int) -> None:
        """Moves to the batch of the run's 0-based ``step``, in a second or less whatever the distance.

        Raises:
            UserError: a negative step, one before these batches begin, or one before the weights last changed.
        """
        if step < self._part_start:
            if step < 0:
                raise UserError(f"Step {step} must not be negative.")
            what = "these batches begin" if step < self.first_step else "the weights changed"
            raise UserError(
                f"Step {step} lies before step {self._part_start}, at which {what}. Restore a position saved there."
            )
        self._move_to(step, (step - self._part_start) * self._batch_size)

    # --- weights -------------------------------------------------------------------------------------------------------

    def set_weights(self, weights: Weights, *, asked_after: int | None = None) -> None:
        """Changes the shares of the draws from the next batch on.

        Every task goes on where it stands: draws that stand in no batch yet are carried over and come
        first. The change is part of the position, and ``on_weights`` is told.

        Args:
            weights: [tasks] or by task, all of them; normalized here.
            asked_after: the run's step as ``on_weights`` is told it, where other batches come before these.

        Raises:
            UserError: unusable weights; the old ones then stay in force.
        """
        if isinstance(weights, Mapping):
            if set(weights) != set(self._names):
                stray = sorted(set(weights) ^ set(self._names))[0]
                raise UserError(
                    f"Weights must be given for exactly the {len(self._names)} tasks of the run; {stray!r} is "
                    f"{'missing' if stray in self._names else 'not one of them'}."
                )
            weights = [weights[name] for name in self._names]
        config = dataclasses.replace(self._config, weights=np.asarray(weights, np.float64))
        self._start_part_from(config, self._progress(), np.arange(len(self._names)))
        if self._on_weights is not None:
            self._on_weights(self._step if asked_after is None else asked_after, self.weights, self._step)

    def progress(self) -> tuple[TaskProgress, ...]:
        """Returns how far this stream has gone through each of its tasks."""
        return (self._progress(),)

    def _progress(self) -> TaskProgress:
        sampler, counted = self._row_index.sampler, None if self._counts is None else self._counts.copy()
        consumed = consumed_before(self._row_index, self._row, counted)
        stats = SamplingStats(
            self._names,
            sampler.expected(int(consumed.examples.sum())),
            self._row_index.table.sizes,
            consumed.examples,
            consumed.input_tokens,
            consumed.target_tokens,
        )
        tasks = tuple((task.name, task.fingerprint) for task in self._config.tasks)
        return TaskProgress(self._step, sampler.start.part, tasks, consumed, self._earlier_stats + stats)

    def continue_from(self, progress: Sequence[TaskProgress]) -> None:
        """Continues where a stream over other tasks stands.

        A task that both have, prepared alike, goes on where it stands; any other begins at its first
        epoch. What was drawn from tasks that are gone is no longer counted.

        Args:
            progress: of the other stream: one.
        """
        (there,) = progress
        ours = {(task.name, task.fingerprint): index for index, task in enumerate(self._config.tasks)}
        task_map = np.array([ours.get(task, -1) for task in there.tasks])
        self._start_part_from(self._initial_config, there, task_map)

    def _start_part_from(self, config: StreamConfig, there: TaskProgress, task_map: np.ndarray) -> None:
        """Begins a new part of the run, on weights or tasks of its own, where an earlier one ends.

        Args:
            config: of the new part.
            there: where the earlier one ends.
            task_map: [tasks there] index of each among the tasks of ``config``, -1 for none.
        """
        kept = task_map >= 0

        def remapped(values: np.ndarray) -> np.ndarray:
            result = np.zeros(len(self._names), values.dtype)
            result[task_map[kept]] = values[kept]
            return result

        carried_over_task = task_map[there.consumed.carried_over_task]
        start = SamplerStart(
            there.part + 1,
            remapped(there.consumed.drawn),
            carried_over_task[carried_over_task >= 0].astype(np.int32),
            there.consumed.carried_over_index[carried_over_task >= 0],
        )
        earlier_stats = dataclasses.replace(
            self._zero_stats(),
            expected=remapped(there.stats.expected),
            examples=remapped(there.stats.examples),
            input_tokens=remapped(there.stats.input_tokens),
            target_tokens=remapped(there.stats.target_tokens),
        )
        self._start_part(dataclasses.replace(config, start=start), earlier_stats, there.step)
        self._step, self._row = there.step, 0
        self._counts = np.zeros((3, len(self._names)), np.int64)

    def _start_part(self, config: StreamConfig, earlier_stats: SamplingStats, step: int) -> None:
        row_index = config.row_index(self._row_index)  # first: unusable weights leave all as it is
        self._stop_prefetching()
        self._config, self._row_index, self._earlier_stats, self._part_start = config, row_index, earlier_stats, step

    def _move_to(self, step: int, row: int) -> None:
        self._stop_prefetching()
        self._step, self._row = step, row
        self._counts = None

    # --- sampling statistics -------------------------------------------------------------------------------------------

    def sampling_stats(self) -> SamplingStats:
        """Counts what was drawn from the first step of the run to the last batch consumed."""
        examples, inputs, targets = self._part_counts().copy()
        sampler, drawn = self._row_index.sampler, self._consumed()
        # Before the first batch the shares themselves say what is asked for.
        nothing = not drawn and not self._earlier_stats.examples.any()
        expected = sampler.shares_at(0) if nothing else sampler.expected(drawn)
        return self._earlier_stats + SamplingStats(
            self._names, expected, self._row_index.table.sizes, examples, inputs, targets
        )

    def _part_counts(self) -> np.ndarray:
        """[3, tasks] int64, consumed in this part: examples, input tokens, target tokens."""
        if self._counts is None:  # after a restore they follow from the position
            out = consumed_before(self._row_index, self._row)
            self._counts = np.stack([out.examples, out.input_tokens, out.target_tokens])
        return self._counts

    def _zero_stats(self) -> SamplingStats:
        zeros = np.zeros(len(self._names), np.int64)
        return SamplingStats(self._names, zeros.astype(np.float64), self._row_index.table.sizes, zeros, zeros, zeros)

    def examples(self, step: int) -> list[BatchExample]:
        """Returns the examples of a global batch, as ``BatchStream.examples``."""
        if not self._part_start < step:
            raise UserError(
                f"The batch of step {step} was drawn by other weights than those since step {self._part_start}, so its examples "
                "are not known any more. Restore a position saved there."
            )
        plan, _ = self._row_index.plan((step - 1 - self._part_start) * self._batch_size, self._batch_size)
        index = plan.table_row - self._row_index.table.bases[plan.task]
        columns = (plan.row.tolist(), (self._names[task] for task in plan.task.tolist()), index.tolist())
        return [BatchExample(*each) for each in zip(*columns, strict=True)]

    # --- prefetching ---------------------------------------------------------------------------------------------------

    def _iterator(self) -> grain.DatasetIterator[CountedBatch]:
        if not self._finalizer.alive:
            raise ValueError("these batches were closed")
        if not self._iterators:
            dataset = BatchDataset(
                self._config, None if self._workers else self._row_index, self._row, self._batch_size, self._host_rows
            )
            self._iterators.append(iter(prefetched(dataset, self._prefetch, self._workers)))
        return self._iterators[0]

    def _stop_prefetching(self) -> None:
        _close_all(self._iterators)

    def close(self) -> None:
        """Stops the prefetching thread or processes; no batch can be requested afterwards."""
        self._finalizer()


def _close_all(iterators: list[grain.DatasetIterator[CountedBatch]]) -> None:
    while iterators:
        iterators.pop().close()
