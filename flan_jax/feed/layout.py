"""The layout of a row: the arrays that a model reads, for encoder–decoders and for decoders.

Two examples, inputs [5 6 1] → targets [7 1] of task 0 and inputs [8 1] → targets [9 4 1] of task
2, packed into one row of lengths 6 and 6 (``0`` pads, ``1`` ends a sequence):

    encoder_input_tokens      5  6  1  8  1  0
    encoder_segment_ids       1  1  1  2  2  0
    encoder_positions         0  1  2  0  1  0
    decoder_target_tokens     7  1  9  4  1  0
    decoder_input_tokens      0  7  0  9  4  0      targets shifted right, inside each segment
    decoder_loss_weights      1  1  1  1  1  0
    decoder_segment_ids       1  1  2  2  2  0
    decoder_positions         0  1  0  1  2  0
    decoder_task_ids          0  0  2  2  2 -1

A decoder alone reads inputs and targets as one sequence. The loss counts the targets; a prefix model
may look in both directions where ``decoder_causal_attention`` is 1, at the inputs and at the place that
predicts the first target token:

    decoder_target_tokens     5  6  1  7  1  8  1  9  4  1  0  0
    decoder_input_tokens      0  5  6  1  7  0  8  1  9  4  0  0
    decoder_loss_weights      0  0  0  1  1  0  0  1  1  1  0  0
    decoder_causal_attention  1  1  1  1  0  1  1  1  0  0  0  0
    decoder_segment_ids       1  1  1  1  1  2  2  2  2  2  0  0
    decoder_positions         0  1  2  3  4  0  1  2  3  4  0  0
    decoder_task_ids          0  0  0  0  0  2  2  2  2  2 -1 -1

A model's inputs may begin with tokens of its own, as T5Gemma's do with ``<bos>``: with ``input_start`` (2,) the encoder of
the first example reads [2 5 6 1], and a row has room for one token less of each.

A task may say of every target token whether the loss counts it: the extra ``loss_mask`` of its examples. Of a
whole conversation, kept as targets without inputs, that is what the assistant said. The mask 0 1 1 for the targets
[9 4 1] above gives ``decoder_loss_weights`` 0 1 1 in their places, in either layout.

A model lets a position attend only within its own segment, so packed and unpacked rows train alike.
Names and meanings are those of T5X.
"""

import dataclasses
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.packing import PackedRows, one_per_row, pack
from flan_jax.store.extras import has_loss_mask
from flan_jax.store.store import StoredTask

Batch = dict[str, np.ndarray]

BATCH_KEYS = (
    "encoder_input_tokens",
    "encoder_segment_ids",
    "encoder_positions",
    "decoder_input_tokens",
    "decoder_target_tokens",
    "decoder_loss_weights",
    "decoder_segment_ids",
    "decoder_positions",
    "decoder_task_ids",
)
"""Of an encoder–decoder's batch."""
DECODER_BATCH_KEYS = (*(key for key in BATCH_KEYS if key.startswith("decoder_")), "decoder_causal_attention")
"""Of a decoder's batch."""


@dataclasses.dataclass(frozen=True, slots=True)
class RowLayout:
    """Lengths and packing of a row; assembles batches of them.

    Attributes:
        input_limit: tokens of inputs, at most.
        target_limit: tokens of targets, at most.
        decoder_only: inputs and targets as one sequence of ``input_limit + target_limit`` tokens.
        packed: several examples a row; ``False`` puts each into a row of its own.
        input_start: ids that the model reads in front of every example's inputs; they count as tokens of inputs.
    """

    input_limit: int
    target_limit: int
    decoder_only: bool = False
    packed: bool = True
    input_start: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for side, limit in (("inputs", self.input_limit), ("targets", self.target_limit)):
            if not isinstance(limit, int | np.integer) or limit < 1:
                raise UserError(f"The length of {side} is {limit!r}; give at least 1 token in TASK_FEATURE_LENGTHS.")

    def identity(self) -> tuple[Any, ...]:
        """Returns what a saved position depends on: the fields, without those that came later where they say nothing."""
        return dataclasses.astuple(self)[: None if self.input_start else -1]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a batch."""
        return DECODER_BATCH_KEYS if self.decoder_only else BATCH_KEYS

    @property
    def tokens_per_row(self) -> int:
        """The most tokens of a row, both sides together."""
        return self.input_limit + self.target_limit

    def check_fits(self, task: StoredTask) -> None:
        """Checks that every example of a task fits into a row, and that this kind of row can hold it.

        A decoder's row is one sequence, so a task without inputs may fill it with targets.

        Raises:
            UserError: the task, the side, both lengths and the remedy; or a task of whole
                conversations in the rows of an encoder–decoder.
        """
        masked, target_limit = has_loss_mask(task.manifest, f"Task {task.name!r}"), self.target_limit
        if not task.manifest["max_input_length"]:
            if masked and not self.decoder_only:
                raise UserError(
                    f"Task {task.name!r} has whole conversations without inputs, so an encoder would have nothing to read. "
                    "Train a decoder on it, or give an encoder–decoder the replies one by one (dialog_task)."
                )
            target_limit = self.tokens_per_row if self.decoder_only else target_limit
        started = len(self.input_start)
        for side, limit in (("input", self.input_limit - started), ("target", target_limit)):
            longest = task.manifest[f"max_{side}_length"]
            if longest > limit:
                behind = f" behind the {started} that begin an input" if started and side == "input" else ""
                raise UserError(
                    f"Task {task.name!r} has {side}s of up to {longest} tokens, longer than the {limit} of a row{behind}. "
                    f"Raise TASK_FEATURE_LENGTHS['{side}s'], or prepare the task again with that length."
                )

    def pack(self, input_lengths: np.ndarray, target_lengths: np.ndarray, *, longest_first: bool = True) -> PackedRows:
        """Packs examples of these lengths, [n] each, into rows."""
        if not self.packed:
            return one_per_row(len(input_lengths))
        if self.decoder_only:
            whole = np.asarray(input_lengths, np.int64) + target_lengths
            return pack(
                whole,
                np.zeros_like(whole),
                input_limit=self.tokens_per_row,
                target_limit=1,
                longest_first=longest_first,
            )
        limits = {"input_limit": self.input_limit, "target_limit": self.target_limit}
        started = np.asarray(input_lengths, np.int64) + len(self.input_start)
        return pack(started, target_lengths, **limits, longest_first=longest_first)

    def assemble(
        self,
        *,
        row: np.ndarray,
        task: np.ndarray,
        input_lengths: np.ndarray,
        target_lengths: np.ndarray,
        input_tokens: np.ndarray,
        target_tokens: np.ndarray,
        rows: int,
        target_weights: np.ndarray | None = None,
    ) -> Batch:
        """Assembles the arrays of a batch, as in the examples at the top of this file.

        Args:
            row: [n] the row of each example, not decreasing.
            task: [n] the index of each example's task.
            input_lengths: [n].
            target_lengths: [n].
            input_tokens: [sum of input_lengths] every example's inputs, one after another.
            target_tokens: [sum of target_lengths] every example's targets, one after another.
            rows: rows in the batch; those with no example are padding.
            target_weights: [sum of target_lengths] float32, what the loss counts of each target
                token; ``None`` for all of them.

        Returns:
            With S and T the two limits, ``encoder_*`` [rows, S] and ``decoder_*`` [rows, T], or for a
            decoder alone [rows, S + T]; int32, ``decoder_loss_weights`` float32.
        """
        counts = np.bincount(row, minlength=rows)
        segment = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        if self.decoder_only:
            return self._decoder(
                row, task, segment, input_lengths, target_lengths, input_tokens, target_tokens, rows, target_weights
            )
        started = np.asarray(input_lengths, np.int64) + len(self.input_start)
        encoder = _Scatter(row, started, rows, self.input_limit)
        decoder = _Scatter(row, target_lengths, rows, self.target_limit)
        return {
            "encoder_input_tokens": encoder.scatter(encoder.behind(self.input_start, input_tokens)),
            "encoder_segment_ids": encoder.scatter(encoder.repeat(segment)),
            "encoder_positions": encoder.scatter(encoder.position),
            "decoder_input_tokens": decoder.scatter(decoder.shifted(target_tokens)),
            "decoder_target_tokens": decoder.scatter(target_tokens),
            "decoder_loss_weights": decoder.scatter(
                np.float32(1) if target_weights is None else target_weights, np.float32
            ),
            "decoder_segment_ids": decoder.scatter(decoder.repeat(segment)),
            "decoder_positions": decoder.scatter(decoder.position),
            "decoder_task_ids": decoder.scatter(decoder.repeat(task), padding=-1),
        }

    def _decoder(
        self,
        row: np.ndarray,
        task: np.ndarray,
        segment: np.ndarray,
        input_lengths: np.ndarray,
        target_lengths: np.ndarray,
        input_tokens: np.ndarray,
        target_tokens: np.ndarray,
        rows: int,
        target_weights: np.ndarray | None,
    ) -> Batch:
        input_lengths = np.asarray(input_lengths, np.int64)
        decoder = _Scatter(row, input_lengths + target_lengths, rows, self.tokens_per_row)
        is_target = decoder.position >= decoder.repeat(input_lengths)
        tokens = np.empty(len(is_target), np.int32)
        tokens[~is_target] = input_tokens
        tokens[is_target] = target_tokens
        weights = is_target.astype(np.float32)
        if target_weights is not None:
            weights[is_target] = target_weights
        return {
            "decoder_input_tokens": decoder.scatter(decoder.shifted(tokens)),
            "decoder_target_tokens": decoder.scatter(tokens),
            "decoder_loss_weights": decoder.scatter(weights, np.float32),
            "decoder_segment_ids": decoder.scatter(decoder.repeat(segment)),
            "decoder_positions": decoder.scatter(decoder.position),
            "decoder_task_ids": decoder.scatter(decoder.repeat(task), padding=-1),
            "decoder_causal_attention": decoder.scatter(decoder.position <= decoder.repeat(input_lengths)),
        }


class _Scatter:
    """Scatters the joined tokens of one side of all examples into the cells of a batch."""

    def __init__(self, row: np.ndarray, lengths: np.ndarray, rows: int, limit: int) -> None:
        self._lengths = np.asarray(lengths, np.int64)
        self._shape = (rows, limit)
        ends = np.cumsum(self._lengths)
        total = int(ends[-1]) if len(ends) else 0
        self.first = ends - self._lengths  # [n] where each example starts among the joined tokens
        joined = np.arange(total, dtype=np.int32)
        self.position = joined - self.repeat(self.first)
        used = np.bincount(row, weights=self._lengths, minlength=rows).astype(np.int64)
        # A row's tokens stand together at its start, so one shift per row takes a token to its cell.
        self._cells = joined + np.repeat((np.arange(rows) * limit - (np.cumsum(used) - used)).astype(np.int32), used)

    def repeat(self, per_example: np.ndarray) -> np.ndarray:
        """[n] → [tokens] int32, each value repeated for every token of its example."""
        return np.repeat(np.asarray(per_example).astype(np.int32), self._lengths)

    def behind(self, start: tuple[int, ...], joined: np.ndarray) -> np.ndarray:
        """Puts ``start`` in front of each example's tokens, which are joined without it; ``[tokens]``."""
        if not start:
            return joined
        is_start = self.position < len(start)
        tokens = np.empty(len(is_start), np.int32)
        tokens[is_start] = np.tile(np.array(start, np.int32), len(self._lengths))
        tokens[~is_start] = joined
        return tokens

    def shifted(self, joined: np.ndarray) -> np.ndarray:
        """[tokens] each token's predecessor in its example, 0 for the first: what a decoder reads."""
        before = np.zeros(len(joined), np.int32)
        before[1:] = joined[:-1]
        before[self.first[self._lengths > 0]] = 0
        return before

    def scatter(self, joined: np.ndarray | np.generic, dtype: type = np.int32, *, padding: int = 0) -> np.ndarray:
        """[tokens] → [rows, limit]."""
        cells: np.ndarray = np.full(self._shape, padding, dtype) if padding else np.zeros(self._shape, dtype)
        cells.reshape(-1)[self._cells] = joined
        return cells
