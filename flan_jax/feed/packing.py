"""Best-fit bin packing of examples into rows with two limits, inputs and targets."""

import dataclasses

import numpy as np

# Rows are sorted into this many classes by the room left on the second side. A row of a higher class
# than an example's need surely takes it; in the same class rows are tried, so many at most.
_CLASSES = 16
_TRIES = 16


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class PackedRows:
    """An assignment of examples to rows.

    Attributes:
        examples: [n] int64, every example once, row after row.
        starts: [rows + 1] int64; row r holds ``examples[starts[r]:starts[r + 1]]``.
    """

    examples: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def reordered(self, order: np.ndarray) -> "PackedRows":
        """Selects rows: row i of the result is row ``order[i]`` of these. They may be fewer."""
        counts = np.diff(self.starts)[order]
        starts = np.concatenate([[0], np.cumsum(counts)])
        source = np.repeat(self.starts[order] - starts[:-1], counts) + np.arange(starts[-1])
        return PackedRows(self.examples[source], starts)


def one_per_row(count: int) -> PackedRows:
    """Assigns each of ``count`` examples a row of its own, in order."""
    return PackedRows(np.arange(count), np.arange(count + 1))


def pack(
    input_lengths: np.ndarray,
    target_lengths: np.ndarray,
    *,
    input_limit: int,
    target_limit: int,
    longest_first: bool = True,
) -> PackedRows:
    """Packs examples into as few rows as best fit finds; both sides of an example go into the same row.

    One after another, each example goes into the row that it fills most closely. The side that needs
    more of its limit over all examples decides what is close; the other side only has to fit. An
    example is never cut.

    From the longest to the shortest (best-fit decreasing) is best where one side decides. Where both
    sides are scarce it leaves rows full on one side and empty on the other; the order given then does
    better, as long and short examples of either side meet.

    Args:
        input_lengths: [n] integers.
        target_lengths: [n] integers.
        input_limit: encoder length of a row.
        target_limit: decoder length of a row.
        longest_first: from the longest example to the shortest; else in the order given.

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
    order = np.arange(len(inputs))
    if longest_first:
        order = np.argsort(-np.maximum(inputs * target_limit, targets * input_limit), kind="stable")
    if int(inputs.sum()) * target_limit >= int(targets.sum()) * input_limit:
        row_of_placed, rows = _best_fit(inputs[order].tolist(), targets[order].tolist(), input_limit, target_limit)
    else:
        row_of_placed, rows = _best_fit(targets[order].tolist(), inputs[order].tolist(), target_limit, input_limit)
    row = np.empty(len(order), np.int64)
    row[order] = row_of_placed
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return PackedRows(np.argsort(row, kind="stable"), starts)


def _best_fit(first: list[int], second: list[int], first_limit: int, second_limit: int) -> tuple[list[int], int]:
    """Best fit on one side, with the other as a constraint.

    Args:
        first: lengths of the side that decides which row is closest, in the order of placement.
        second: lengths of the side that only has to fit.
        first_limit: of a row.
        second_limit: of a row.

    Returns:
        The row of every example, and the number of rows.
    """
    width = second_limit // _CLASSES + 1
    # stacks[r * _CLASSES + c]: the open rows with room r left on the first side, of class c. Bit r of
    # occupied[c] says whether there are any, so that the closest fit is a shift away; grouped[g] is the
    # union of four classes, so that a union of many takes few steps.
    stacks: dict[int, list[int]] = {}
    occupied = [0] * _CLASSES
    grouped = [0] * (_CLASSES // 4)
    room_second: list[int] = []
    placed: list[int] = []
    least, least_second = min(first), min(second)
    for need, need_second in zip(first, second, strict=True):
        own = need_second // width
        sure = 0
        for group in range((own >> 2) + 1, _CLASSES // 4):
            sure |= grouped[group]
        for kind in range(own + 1, (own | 3) + 1):
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
            rows = stacks[room * _CLASSES + own]
            for index in range(len(rows) - 1, max(-1, len(rows) - 1 - tries), -1):
                if room_second[rows[index]] >= need_second:
                    row, kind = rows.pop(index), own
                    break
            if row >= 0:
                break
            tries -= len(rows)
            near ^= lowest
        if row < 0 and sure:
            room = need + sure.bit_length() - 1
            kind = own + 1
            while not occupied[kind] >> room & 1:
                kind += 1
            rows = stacks[room * _CLASSES + kind]
            row = rows.pop()
        if row < 0:
            row, room = len(room_second), first_limit
            room_second.append(second_limit)
        elif not rows:
            occupied[kind] ^= 1 << room
            base = kind & ~3
            if not (occupied[base] | occupied[base + 1] | occupied[base + 2] | occupied[base + 3]) >> room & 1:
                grouped[kind >> 2] ^= 1 << room
        placed.append(row)
        room -= need
        left_second = room_second[row] = room_second[row] - need_second
        if room >= least and left_second >= least_second:
            kind = left_second // width
            place = room * _CLASSES + kind
            if place in stacks:
                stacks[place].append(row)
            else:
                stacks[place] = [row]
            occupied[kind] |= 1 << room
            grouped[kind >> 2] |= 1 << room
    return placed, len(room_second)
