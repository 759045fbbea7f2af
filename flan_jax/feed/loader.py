"""Global batches of a mixture, prefetched by grain, resumable from a few integers.

The rows of a batch do not depend on the number of hosts; each host assembles its own part only.
"""

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from flan_jax.errors import UserError
from flan_jax.feed.consumed import handed_out
from flan_jax.feed.grain_dataset import BatchDataset, Element, StreamConfig
from flan_jax.feed.layout import Batch, RowLayout
from flan_jax.feed.packed_row_index import PackedRowIndex
from flan_jax.feed.sampler import Exhausted, Start
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.store.store import StoredTask

__all__ = ["Batch", "PackedBatches", "SamplingStats"]

_POSITION = ("step", "row", "window_rows", "window_own")
_PART = "part"
_FIRST = "first_step"
_MEANING = {
    "tasks": "the tasks or what they were prepared from",
    "weights": "the weights or the seed",
    "layout": "the lengths, packing, or what becomes of exhausted tasks",
    "packing": "the way in which flan_jax draws and packs rows",
}
_FIRST_PACKING = {"packing": 1}
"""Of positions that were saved before they said it."""


class PackedBatches(Iterator[Batch]):
    """An iterator over the batches of a mixture, endless unless exhausted tasks end it.

    Each batch is a dictionary with the keys of ``RowLayout.keys``: ``encoder_*`` [rows, inputs] and
    ``decoder_*`` [rows, targets], or ``decoder_*`` [rows, inputs + targets] for a decoder alone; int32
    but for ``decoder_loss_weights`` (float32). ``rows`` is ``batch_size / process_count``.

    What comes at step s is a function of tasks, weights, seed, lengths and ``batch_size`` only.

    Args:
        tasks: prepared tasks; ``decoder_task_ids`` counts them from 0 in this order.
        weights: [tasks] shares of the draws, normalised here; 0 leaves a task out.
        seed: another seed gives another order.
        batch_size: rows of the global batch.
        lengths: ``{"inputs": …, "targets": …}`` in tokens.
        pack: several examples per row; ``False`` puts each into a row of its own.
        decoder_only: inputs and targets as one sequence of ``inputs + targets`` tokens.
        exhausted: what becomes of a task that was gone through: ``repeat`` in a new order, ``drop``
            the task, or ``stop`` the batches. The last batch is then filled up with empty rows.
        epochs: after how many epochs a task is exhausted.
        process_index: this host.
        process_count: number of hosts; must divide ``batch_size``.
        prefetch: batches made ahead by another thread (or by each worker); 0 makes each when it is
            asked for.
        workers: processes that make batches; 0 makes them in this one. One thread makes tens of
            millions of tokens a second, which few devices outrun.
        on_weights: called as ``on_weights(step, {task: share}, holds_after)`` after the step of the run at which
            ``set_weights`` was called or a task was gone through and dropped, with the step after which batches
            are drawn in these shares: the same, unless other batches come before these.
        first_step: how many batches of the run others handed out before these begin.

    Raises:
        UserError: unusable weights, sizes or lengths, or a task with examples longer than a row.
    """

    def __init__(
        self,
        tasks: Sequence[StoredTask],
        weights: Sequence[float] | np.ndarray,
        *,
        seed: int,
        batch_size: int,
        lengths: Mapping[str, int],
        pack: bool = True,
        decoder_only: bool = False,
        exhausted: Exhausted = "repeat",
        epochs: int = 1,
        process_index: int = 0,
        process_count: int = 1,
        prefetch: int = 2,
        workers: int = 0,
        on_weights: Callable[[int, dict[str, float], int], None] | None = None,
        first_step: int = 0,
    ) -> None:
        layout = RowLayout(lengths.get("inputs", 0), lengths.get("targets", 0), decoder_only, pack)
        if batch_size < 1 or batch_size % process_count:
            raise UserError(
                f"BATCH_SIZE={batch_size} must be a positive multiple of the number of hosts, {process_count}."
            )
        if not 0 <= process_index < process_count:
            raise ValueError(f"process_index={process_index} is not below process_count={process_count}")
        if workers < 0 or prefetch < 0:
            raise UserError(f"{workers} workers and {prefetch} prefetched batches: both must be at least 0.")
        self._names = tuple(task.name for task in tasks)
        self._batch_size = batch_size
        share = batch_size // process_count
        self._own = (process_index * share, (process_index + 1) * share)
        self._prefetch = prefetch
        self._workers = workers
        self._on_weights = on_weights
        self._begun = StreamConfig(tuple(tasks), np.asarray(weights, np.float64), seed, layout, exhausted, epochs)
        self._recipe = self._begun
        self._stream = self._recipe.stream()
        self._identity = self._stream.identity(tasks)
        self.first_step = first_step
        self._step, self._row, self._part_began = first_step, 0, first_step
        self._before = self._nothing()
        self._counts: np.ndarray | None = np.zeros((3, len(tasks)), np.int64)
        # grain's iterator stops its thread when it is deleted, which fails once the interpreter is being
        # torn down. It is held where it can be let go of before: at the latest just before exit.
        self._held: list[grain.DatasetIterator[Element]] = []
        self._finalizer = weakref.finalize(self, _close_all, self._held)

    def __iter__(self) -> "PackedBatches":
        return self

    def __next__(self) -> Batch:
        before = self._stretch() if self._on_weights else 0
        batch, counts = next(self._iterator())
        self._step += 1
        self._row += self._batch_size
        if self._counts is not None:
            self._counts += counts
        if self._on_weights and self._stretch() != before:
            self._on_weights(self._step, self.weights, self._step)
        return {name: batch[name] for name in self._recipe.layout.keys}  # other processes hand them over sorted

    @property
    def step(self) -> int:
        """How many batches were handed out since the beginning of the run."""
        return self._step

    @property
    def weights(self) -> dict[str, float]:
        """The shares of draws that are in force, by task; they sum to 1. A task that dropped out has none."""
        shares = self._stream.sampler.shares_at(self._drawn())
        return dict(zip(self._names, shares.tolist(), strict=True))

    def _drawn(self) -> int:
        """The examples of this part of the run that were handed out."""
        return int(self._counted()[0].sum())

    def _stretch(self) -> int:
        return self._stream.sampler.stretch(self._drawn()) if self._recipe.exhausted == "drop" else 0

    # --- position ------------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """The position after the last batch that was handed out, as JSON.

        A few integers; after ``set_weights`` also those weights and, by task, what was drawn before them;
        after a task dropped out also the shares in force, which follow from the rest.
        """
        # Known once the first window is packed; saved, so that a restored run need not pack it again.
        rows, own = self._stream.known_capacity or (0, 0)
        state: dict[str, Any] = {"step": self._step, "row": self._row, "window_rows": rows, "window_own": own}
        state |= self._identity
        if self.first_step:
            state[_FIRST] = self.first_step
        if self._stretch():
            state["in_force"] = self.weights
        if self._recipe.start is not None:
            start, before = self._recipe.start, self._before
            state[_PART] = {
                "number": start.part,
                "began": self._part_began,
                "weights": self._recipe.weights.tolist(),
                "drawn": start.drawn.tolist(),
                "owed_task": start.owed_task.tolist(),
                "owed_number": start.owed_number.tolist(),
                **{name: getattr(before, name).tolist() for name in _SUMMED},
            }
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues after the batch at which ``state`` was taken; any number of hosts may do so.

        Raises:
            UserError: the state belongs to other tasks, weights, seed or lengths, or is none.
        """
        state = {**_FIRST_PACKING, **state}
        missing = sorted({*_POSITION, *self._identity} - set(state))
        if missing:
            raise UserError(f"The saved data position has no {', '.join(missing)}; it was not saved by this loader.")
        changed = [part for part, digest in self._identity.items() if int(state[part]) != digest]
        if changed:
            what = " and ".join(_MEANING[part] for part in changed)
            raise UserError(
                f"The saved data position cannot be continued: {what} changed since it was saved. "
                "Restore what it was, or start a new run from the checkpoint's parameters."
            )
        # Positions once counted from the first of these batches, whatever came before them.
        before_these = self.first_step - int(state.get(_FIRST, 0))
        part = state.get(_PART)
        if part is None:
            self._begin(self._begun, self._nothing(), self.first_step)
        else:
            start = Start(
                int(part["number"]),
                np.array(part["drawn"], np.int64),
                np.array(part["owed_task"], np.int32),
                np.array(part["owed_number"], np.int64),
            )
            nothing = self._nothing()
            before: dict[str, Any] = {name: np.array(part[name], getattr(nothing, name).dtype) for name in _SUMMED}
            self._begin(
                dataclasses.replace(self._begun, weights=np.array(part["weights"]), start=start),
                dataclasses.replace(nothing, **before),
                int(part["began"]) + before_these,
            )
        if state["window_rows"]:
            self._stream.know_capacity(int(state["window_rows"]), int(state["window_own"]))
        self._move(int(state["step"]) + before_these, int(state["row"]))

    def seek(self, step: int) -> None:
        """Continues with the batch of the run's ``step``, counted from 0, in a second or less whatever the distance.

        Raises:
            UserError: a negative step, one before these batches begin, or one before the weights last changed.
        """
        if step < self._part_began:
            if step < 0:
                raise UserError(f"Step {step} must not be negative.")
            what = "these batches begin" if step < self.first_step else "the weights changed"
            raise UserError(
                f"Step {step} lies before step {self._part_began}, at which {what}. Restore a position saved there."
            )
        self._move(step, (step - self._part_began) * self._batch_size)

    # --- weights -------------------------------------------------------------------------------------------------------

    def set_weights(
        self, weights: Sequence[float] | np.ndarray | Mapping[str, float], *, asked_after: int | None = None
    ) -> None:
        """Draws in other shares from the next batch on.

        Every task goes on where it stands: what was drawn for batches that are not to come is drawn
        first. The change is part of the position, and ``on_weights`` is told.

        Args:
            weights: [tasks] or by task, all of them; normalised here.
            asked_after: the run's step, where other batches are still handed out before these.

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
        self._continue_as(dataclasses.replace(self._recipe, weights=np.asarray(weights, np.float64)), self._stream)
        if self._on_weights is not None:
            self._on_weights(self._step if asked_after is None else asked_after, self.weights, self._step)

    def continue_from(self, other: "PackedBatches") -> None:
        """Takes over the position of batches over other tasks.

        A task that both have, prepared alike, goes on where it stands; any other begins at its first
        epoch. What ``other`` drew from tasks that are gone is no longer counted.
        """
        ours = {(task.name, task.fingerprint): place for place, task in enumerate(self._begun.tasks)}
        place = [ours.get((task.name, task.fingerprint), -1) for task in other._begun.tasks]
        self._step = other._step
        self._continue_as(self._begun, other._stream, from_row=other._row, before=other._before, place=np.array(place))

    def _continue_as(
        self,
        recipe: StreamConfig,
        stream: PackedRowIndex,
        *,
        from_row: int | None = None,
        before: SamplingStats | None = None,
        place: np.ndarray | None = None,
    ) -> None:
        """Begins a new part of the run where ``stream`` stands.

        Args:
            recipe: of the new part.
            stream: what was drawn from until now.
            from_row: how far.
            before: what had been handed out when that stream began.
            place: [tasks of that stream] which of our tasks each is, -1 for none.
        """
        out = handed_out(stream, self._row if from_row is None else from_row)
        before = self._before if before is None else before
        place = np.arange(len(self._names)) if place is None else place
        kept = place >= 0

        def moved(values: np.ndarray) -> np.ndarray:
            result = np.zeros(len(self._names), values.dtype)
            result[place[kept]] = values[kept]
            return result

        owed_task = place[out.owed_task]
        start = Start(
            stream.sampler.start.part + 1,
            moved(out.drawn),
            owed_task[owed_task >= 0].astype(np.int32),
            out.owed_number[owed_task >= 0],
        )
        recipe = dataclasses.replace(recipe, start=start)
        self._begin(
            recipe,
            dataclasses.replace(
                self._nothing(),
                expected=moved(before.expected + stream.sampler.expected(int(out.examples.sum()))),
                examples=moved(before.examples + out.examples),
                input_tokens=moved(before.input_tokens + out.input_tokens),
                target_tokens=moved(before.target_tokens + out.target_tokens),
            ),
            self._step,
        )
        self._row = 0
        self._counts = np.zeros((3, len(self._names)), np.int64)

    def _begin(self, recipe: StreamConfig, before: SamplingStats, step: int) -> None:
        stream = recipe.stream(self._stream.corpus)  # first: unusable weights leave all as it is
        self._stop_prefetching()
        self._recipe, self._stream, self._before, self._part_began = recipe, stream, before, step

    def _move(self, step: int, row: int) -> None:
        self._stop_prefetching()
        self._step, self._row = step, row
        self._counts = None

    # --- what was drawn ------------------------------------------------------------------------------------------------

    def realised(self) -> SamplingStats:
        """What was drawn, from the first step of the run to the last batch handed out."""
        examples, inputs, targets = self._counted().copy()
        sampler, drawn = self._stream.sampler, self._drawn()
        # Before the first batch the shares themselves say what is asked for.
        nothing = not drawn and not self._before.examples.any()
        expected = sampler.shares_at(0) if nothing else sampler.expected(drawn)
        return self._before + SamplingStats(self._names, expected, self._stream.corpus.sizes, examples, inputs, targets)

    def _counted(self) -> np.ndarray:
        """[3, tasks] int64, what was handed out in this part: examples, input tokens, target tokens."""
        if self._counts is None:  # after a restore they follow from the position
            out = handed_out(self._stream, self._row)
            self._counts = np.stack([out.examples, out.input_tokens, out.target_tokens])
        return self._counts

    def _nothing(self) -> SamplingStats:
        zeros = np.zeros(len(self._names), np.int64)
        return SamplingStats(self._names, zeros.astype(np.float64), self._stream.corpus.sizes, zeros, zeros, zeros)

    # --- prefetching ---------------------------------------------------------------------------------------------------

    def _iterator(self) -> grain.DatasetIterator[Element]:
        if not self._finalizer.alive:
            raise ValueError("these batches were closed")
        if not self._held:
            dataset: grain.IterDataset[Element] = BatchDataset(
                self._recipe, None if self._workers else self._stream, self._row, self._batch_size, self._own
            )
            if self._workers:
                if not flags.FLAGS.is_parsed():  # grain asks its flags, which only an absl program parses
                    flags.FLAGS.mark_as_parsed()
                dataset = dataset.mp_prefetch(
                    grain.MultiprocessingOptions(
                        num_workers=self._workers, per_worker_buffer_size=max(1, self._prefetch)
                    )
                )
            else:
                dataset = grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=self._prefetch)
            self._held.append(iter(dataset))
        return self._held[0]

    def _stop_prefetching(self) -> None:
        _close_all(self._held)

    def close(self) -> None:
        """Stops the prefetching thread or processes. No batch can be asked for after that."""
        self._finalizer()


_SUMMED = ("expected", "examples", "input_tokens", "target_tokens")


def _close_all(held: list[grain.DatasetIterator[Element]]) -> None:
    while held:
        held.pop().close()
