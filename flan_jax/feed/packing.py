"""Many examples in one row: which go together, and the arrays that a model reads.

Two examples, inputs [5 6 1] → targets [7 1] of task 0 and inputs [8 1] → targets [9 4 1] of task
2, packed into one row of lengths 6 and 6 (``0`` pads, ``1`` ends a sequence):

    encoder_input_tokens    5  6  1  8  1  0
    encoder_segment_ids     1  1  1  2  2  0
    encoder_positions       0  1  2  0  1  0
    decoder_target_tokens   7  1  9  4  1  0
    decoder_input_tokens    0  7  0  9  4  0      targets shifted right, inside each segment
    decoder_loss_weights    1  1  1  1  1  0
    decoder_segment_ids     1  1  2  2  2  0
    decoder_positions       0  1  0  1  2  0
    decoder_task_ids        0  0  2  2  2 -1

A model lets a position attend only within its own segment, so packed and unpacked rows train alike.
"""

import dataclasses

import numpy as np

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

# Rows are sorted into this many classes by the room left on the second side. A row of a higher class
# than an example's need surely takes it; in the same class rows are tried, so many at most.
_CLASSES = 16
_TRIES = 16


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Which examples stand in which row.

    Attributes:
        examples: [n] int64, every example once, row after row.
        starts: [rows + 1] int64; row r holds ``examples[starts[r]:starts[r + 1]]``.
    """

    examples: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def reordered(self, order: np.ndarray) -> "Rows":
        """The same rows, row i being the old row ``order[i]``."""
        counts = np.diff(self.starts)[order]
        starts = np.concatenate([[0], np.cumsum(counts)])
        source = np.repeat(self.starts[order] - starts[:-1], counts) + np.arange(starts[-1])
        return Rows(self.examples[source], starts)


def one_per_row(count: int) -> Rows:
    """Each of ``count`` examples in a row of its own, in order."""
    return Rows(np.arange(count), np.arange(count + 1))


def pack(input_lengths: np.ndarray, target_lengths: np.ndarray, *, input_limit: int, target_limit: int) -> Rows:
    """Puts examples into as few rows as best fit finds; both sides of an example go into the same row.

    Best-fit decreasing: from the longest to the shortest, each example goes into the row that it
    fills most closely. The side that needs more of its limit over all examples decides what is
    close; the other side only has to fit. An example is never cut.

    Args:
        input_lengths: [n] integers.
        target_lengths: [n] integers.
        input_limit: encoder length of a row.
        target_limit: decoder length of a row.

    Returns:
        The rows, in the order of their first placed example; within a row, examples in the order given.

    Raises:
        ValueError: an example is longer than a row.
    """
    inputs = np.asarray(input_lengths, np.int64)
    targets = np.asarray(target_lengths, np.int64)
    if not inputs.size:
        return one_per_row(0)
    if inputs.max() > input_limit or targets.max() > target_limit:
        raise ValueError(
            f"an example of lengths up to {inputs.max()}/{targets.max()} does not fit into a row of {input_limit}/{target_limit}"
        )
    order = np.argsort(-np.maximum(inputs * target_limit, targets * input_limit), kind="stable")
    if int(inputs.sum()) * target_limit >= int(targets.sum()) * input_limit:
        row_of_placed, rows = _best_fit(inputs[order].tolist(), targets[order].tolist(), input_limit, target_limit)
    else:
        row_of_placed, rows = _best_fit(targets[order].tolist(), inputs[order].tolist(), target_limit, input_limit)
    row = np.empty(len(order), np.int64)
    row[order] = row_of_placed
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return Rows(np.argsort(row, kind="stable"), starts)


def _best_fit(first: list[int], second: list[int], first_limit: int, second_limit: int) -> tuple[list[int], int]:
    """The row of every example, and how many rows there are. ``first`` decides which row is closest."""
    width = second_limit // _CLASSES + 1
    # rows_with_room[c][r]: the open rows of class c with room r left on the first side. Bit r of
    # occupied[c] says whether there are any, so that the closest fit is a shift away.
    rows_with_room: list[list[list[int]]] = [[[] for _ in range(first_limit + 1)] for _ in range(_CLASSES)]
    occupied = [0] * _CLASSES
    room_second: list[int] = []
    placed: list[int] = []
    least, least_second = min(first), min(second)
    for need, need_second in zip(first, second, strict=True):
        own = need_second // width
        sure = 0
        for kind in range(own + 1, _CLASSES):
            sure |= occupied[kind]
        sure = (sure >> need) & -(sure >> need)  # its lowest bit: the closest of the rows that surely fit
        near = occupied[own] >> need
        if sure:
            near &= sure - 1
        row = -1
        tries = _TRIES
        while near and tries > 0:
            lowest = near & -near
            room = need + lowest.bit_length() - 1
            rows = rows_with_room[own][room]
            for index in range(len(rows) - 1, max(-1, len(rows) - 1 - tries), -1):
                if room_second[rows[index]] >= need_second:
                    row = rows.pop(index)
                    break
            if row >= 0:
                if not rows:
                    occupied[own] ^= 1 << room
                break
            tries -= len(rows)
            near ^= lowest
        if row < 0 and sure:
            room = need + sure.bit_length() - 1
            kind = own + 1
            while not occupied[kind] >> room & 1:
                kind += 1
            row = rows_with_room[kind][room].pop()
            if not rows_with_room[kind][room]:
                occupied[kind] ^= 1 << room
        elif row < 0:
            row, room = len(room_second), first_limit
            room_second.append(second_limit)
        placed.append(row)
        room -= need
        left_second = room_second[row] = room_second[row] - need_second
        if room >= least and left_second >= least_second:
            kind = left_second // width
            rows_with_room[kind][room].append(row)
            occupied[kind] |= 1 << room
    return placed, len(room_second)


def assemble(
    *,
    row: np.ndarray,
    task: np.ndarray,
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    input_tokens: np.ndarray,
    target_tokens: np.ndarray,
    rows: int,
    input_limit: int,
    target_limit: int,
) -> dict[str, np.ndarray]:
    """The arrays of a batch, as in the example at the top of this file.

    Args:
        row: [n] the row of each example, not decreasing.
        task: [n] the index of each example's task.
        input_lengths: [n].
        target_lengths: [n].
        input_tokens: [sum of input_lengths] every example's inputs, one after another.
        target_tokens: [sum of target_lengths] every example's targets, one after another.
        rows: rows in the batch; those with no example are padding.
        input_limit: encoder length S.
        target_limit: decoder length T.

    Returns:
        ``encoder_*`` [rows, S] and ``decoder_*`` [rows, T], int32; ``decoder_loss_weights`` float32.
    """
    counts = np.bincount(row, minlength=rows)
    segment = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    encoder = _Side(row, input_lengths, rows, input_limit)
    decoder = _Side(row, target_lengths, rows, target_limit)
    shifted = np.zeros(len(target_tokens), np.int32)
    shifted[1:] = target_tokens[:-1]
    shifted[decoder.first[np.asarray(target_lengths) > 0]] = 0
    return {
        "encoder_input_tokens": encoder.place(input_tokens),
        "encoder_segment_ids": encoder.place(encoder.spread(segment)),
        "encoder_positions": encoder.place(encoder.position),
        "decoder_input_tokens": decoder.place(shifted),
        "decoder_target_tokens": decoder.place(target_tokens),
        "decoder_loss_weights": decoder.place(np.float32(1), np.float32),
        "decoder_segment_ids": decoder.place(decoder.spread(segment)),
        "decoder_positions": decoder.place(decoder.position),
        "decoder_task_ids": decoder.place(decoder.spread(task), padding=-1),
    }


class _Side:
    """Where the tokens of one side go: a map from the joined tokens of all examples to the cells of a batch."""

    def __init__(self, row: np.ndarray, lengths: np.ndarray, rows: int, limit: int) -> None:
        self._lengths = np.asarray(lengths, np.int64)
        self._shape = (rows, limit)
        ends = np.cumsum(self._lengths)
        total = int(ends[-1]) if len(ends) else 0
        self.first = ends - self._lengths  # [n] where each example starts among the joined tokens
        joined = np.arange(total, dtype=np.int32)
        self.position = joined - self.spread(self.first)
        used = np.bincount(row, weights=self._lengths, minlength=rows).astype(np.int64)
        # A row's tokens stand together at its start, so one shift per row takes a token to its cell.
        self._cells = joined + np.repeat((np.arange(rows) * limit - (np.cumsum(used) - used)).astype(np.int32), used)

    def spread(self, per_example: np.ndarray) -> np.ndarray:
        """[n] → [tokens] int32, each value repeated for every token of its example."""
        return np.repeat(np.asarray(per_example).astype(np.int32), self._lengths)

    def place(self, joined: np.ndarray | np.generic, dtype: type = np.int32, *, padding: int = 0) -> np.ndarray:
        """[tokens] → [rows, limit]."""
        cells: np.ndarray = np.full(self._shape, padding, dtype) if padding else np.zeros(self._shape, dtype)
        cells.reshape(-1)[self._cells] = joined
        return cells
