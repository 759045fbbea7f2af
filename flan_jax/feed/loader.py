"""Global batches of a mixture, prefetched by grain, resumable from a few integers.

The rows of a batch do not depend on the number of hosts; each host assembles its own part only.
"""

import dataclasses
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.packing import assemble
from flan_jax.feed.rowstream import Plan, RowStream
from flan_jax.feed.store import StoredTask

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Realised:
    """What a run really drew until now, over all hosts.

    Attributes:
        names: [tasks] the tasks, in the order of ``decoder_task_ids``.
        requested: [tasks] float64, the shares asked for.
        sizes: [tasks] int64, examples in each task.
        examples: [tasks] int64, examples drawn.
        input_tokens: [tasks] int64.
        target_tokens: [tasks] int64, the tokens that the loss counts.
    """

    names: tuple[str, ...]
    requested: np.ndarray
    sizes: np.ndarray
    examples: np.ndarray
    input_tokens: np.ndarray
    target_tokens: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """[tasks] int64, both sides together."""
        return self.input_tokens + self.target_tokens

    @property
    def epochs(self) -> np.ndarray:
        """[tasks] float64, how often each task was gone through."""
        return self.examples / np.maximum(self.sizes, 1)

    @property
    def shares(self) -> np.ndarray:
        """[tasks] float64, the share of all examples drawn; zeros before the first."""
        return self.examples / max(int(self.examples.sum()), 1)


class _Element(NamedTuple):
    batch: Batch
    plan: Plan  # of the global batch, for the counts


class _BatchIterator(grain.DatasetIterator[_Element]):
    """Makes batches, one after another, in whatever thread asks. Its state is a position and its identity."""

    def __init__(self, stream: RowStream, batch_size: int, process_index: int, process_count: int) -> None:
        super().__init__()
        self._stream = stream
        self._batch_size = batch_size
        share = batch_size // process_count
        self._own = (process_index * share, (process_index + 1) * share)
        self._step, self._pool, self._row = 0, 0, 0

    def __next__(self) -> _Element:
        plan, self._pool, self._row = self._stream.plan(self._pool, self._row, self._batch_size)
        self._step += 1
        first, last = self._own
        own = plan.part(first, last)
        input_tokens, target_tokens = self._stream.corpus.tokens(own.row_in_corpus)
        batch = assemble(
            row=own.row,
            task=own.task,
            input_lengths=own.input_lengths,
            target_lengths=own.target_lengths,
            input_tokens=input_tokens,
            target_tokens=target_tokens,
            rows=last - first,
            input_limit=self._stream.input_limit,
            target_limit=self._stream.target_limit,
        )
        return _Element(batch, plan)

    def get_state(self) -> dict[str, int]:
        return {"step": self._step, "pool": self._pool, "row": self._row, **self._stream.identity}

    def set_state(self, state: Mapping[str, int]) -> None:
        self._step, self._pool, self._row = (int(state[name]) for name in ("step", "pool", "row"))


class _BatchDataset(grain.IterDataset[_Element]):
    """What grain's prefetching is wrapped around."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self._arguments = arguments

    def __iter__(self) -> _BatchIterator:
        return _BatchIterator(*self._arguments)


class PackedBatches(Iterator[Batch]):
    """An endless iterator over the batches of a mixture.

    Each batch is a dictionary with exactly the keys ``packing.BATCH_KEYS``: ``encoder_*``
    [rows, inputs], ``decoder_*`` [rows, targets], int32 but for ``decoder_loss_weights``
    (float32). ``rows`` is ``batch_size / process_count``.

    What comes at step s is a function of tasks, weights, seed, lengths and ``batch_size`` only.

    Args:
        tasks: prepared tasks; ``decoder_task_ids`` counts them from 0 in this order.
        weights: [tasks] shares of the draws, normalised here; 0 leaves a task out.
        seed: another seed gives another order.
        batch_size: rows of the global batch.
        lengths: ``{"inputs": encoder length, "targets": decoder length}``.
        pack: several examples per row; ``False`` puts each into a row of its own.
        process_index: this host.
        process_count: number of hosts; must divide ``batch_size``.
        prefetch: batches made ahead by another thread; 0 makes each when it is asked for.

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
        process_index: int = 0,
        process_count: int = 1,
        prefetch: int = 2,
    ) -> None:
        for side in ("inputs", "targets"):
            if lengths.get(side, 0) < 1:
                raise UserError(
                    f"The length of {side} is {lengths.get(side)!r}; give at least 1 token in TASK_FEATURE_LENGTHS."
                )
        if batch_size < 1 or batch_size % process_count:
            raise UserError(
                f"BATCH_SIZE={batch_size} must be a positive multiple of the number of hosts, {process_count}."
            )
        if not 0 <= process_index < process_count:
            raise ValueError(f"process_index={process_index} is not below process_count={process_count}")
        self._names = tuple(task.name for task in tasks)
        self._batch_size = batch_size
        self._stream = RowStream(
            tasks, weights, seed=seed, input_limit=lengths["inputs"], target_limit=lengths["targets"], packed=pack
        )
        dataset = grain.experimental.ThreadPrefetchIterDataset(
            _BatchDataset(self._stream, batch_size, process_index, process_count), prefetch_buffer_size=prefetch
        )
        # grain's iterator stops its thread when it is deleted, which fails once the interpreter is being
        # torn down. It is held where it can be let go of before: at the latest just before exit.
        self._held: list[grain.DatasetIterator[_Element]] = [iter(dataset)]
        self._finalizer = weakref.finalize(self, _close_all, self._held)
        self._counts: list[np.ndarray] | None = [np.zeros(len(tasks), np.int64) for _ in range(3)]

    def __iter__(self) -> "PackedBatches":
        return self

    def __next__(self) -> Batch:
        batch, plan = next(self._iterator)
        if self._counts is not None:
            for count, values in zip(self._counts, (None, plan.input_lengths, plan.target_lengths), strict=True):
                count += np.bincount(plan.task, weights=values, minlength=len(count)).astype(np.int64)
        return batch

    def get_state(self) -> dict[str, int]:
        """The position after the last batch that was handed out: six integers."""
        return dict(self._iterator.get_state())

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues after the batch at which ``state`` was taken; any number of hosts may do so.

        Raises:
            UserError: the state belongs to other tasks, weights, seed or lengths, or is none.
        """
        missing = sorted({"step", "pool", "row", *self._stream.identity} - set(state))
        if missing:
            raise UserError(f"The saved data position has no {', '.join(missing)}; it was not saved by this loader.")
        changed = [part for part, digest in self._stream.identity.items() if int(state[part]) != digest]
        if changed:
            meaning = {
                "tasks": "the tasks or what they were prepared from",
                "weights": "the weights or the seed",
                "layout": "the lengths or packing",
            }
            what = " and ".join(meaning[part] for part in changed)
            raise UserError(
                f"The saved data position cannot be continued: {what} changed since it was saved. "
                "Restore them, or start a new run from the checkpoint's parameters."
            )
        self._iterator.set_state({name: int(value) for name, value in state.items()})
        self._counts = None

    def seek(self, step: int) -> None:
        """Continues with the batch of ``step``, counted from 0.

        Only lengths are read. With packing, time grows with ``step``; a saved state is instant.
        """
        if step < 0:
            raise UserError(f"Step {step} must not be negative.")
        pool, row = self._stream.position(step * self._batch_size)
        self._iterator.set_state({**self.get_state(), "step": step, "pool": pool, "row": row})
        self._counts = None

    @property
    def step(self) -> int:
        """How many batches were handed out since the beginning of the run."""
        return self.get_state()["step"]

    def realised(self) -> Realised:
        """What was drawn, from the first step of the run to the last batch handed out."""
        if self._counts is None:  # after a restore they follow from the position
            state = self.get_state()
            self._counts = list(self._stream.realised(state["pool"], state["row"]))
        shares = self._stream.sampler.shares
        return Realised(
            names=self._names,
            requested=shares / shares.sum(),
            sizes=self._stream.corpus.sizes,
            examples=self._counts[0].copy(),
            input_tokens=self._counts[1].copy(),
            target_tokens=self._counts[2].copy(),
        )

    def close(self) -> None:
        """Stops the prefetching thread. No batch can be asked for after that."""
        self._finalizer()

    @property
    def _iterator(self) -> grain.DatasetIterator[_Element]:
        if not self._held:
            raise ValueError("these batches were closed")
        return self._held[0]


def _close_all(held: list[grain.DatasetIterator[_Element]]) -> None:
    while held:
        held.pop().close()
