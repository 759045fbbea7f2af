"""Tokenised examples as one Arrow file, written in chunks and read without copying.

The file is an Arrow IPC stream whose schema carries the features of Hugging Face ``datasets``,
so that library, and plain pyarrow, open it as it is.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from flan_jax.errors import UserError
from flan_jax.store.extras import EXTRA_PREFIX, Extra, ExtraValue, approx_bytes, check_extras, check_names
from flan_jax.store.schema import NO_EXTRAS, schema

__all__ = ["ArrowTokens", "ChunkedTokens", "Extra", "StoredExample", "Totals", "smallest_uint_type", "write_arrow"]

# A chunk is one record batch. Its lists have 32-bit offsets, hence a limit on tokens too.
CHUNK_EXAMPLES = 1 << 15
CHUNK_TOKENS = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class StoredExample:
    """One tokenized example.

    Attributes:
        inputs: [length] token ids, the end-of-sequence id included.
        targets: [length] token ids, the end-of-sequence id included.
        example_id: index of the record in its split.
        template_id: index of the template that rendered it.
        options: the closed set that is scored, or ``()``.
        references: every accepted answer.
        extras: further values by name, exactly those that were declared to ``write_arrow``.
    """

    inputs: np.ndarray
    targets: np.ndarray
    example_id: int = 0
    template_id: int = 0
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    extras: Mapping[str, ExtraValue] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """Totals of a file: counts of examples and tokens, longest sides, and the type of a token."""

    examples: int
    input_tokens: int
    target_tokens: int
    max_input_length: int
    max_target_length: int
    token_type: str


def smallest_uint_type(largest: int) -> np.dtype:
    """The narrowest unsigned integer type that holds ``largest``.

    >>> smallest_uint_type(32_127)
    dtype('uint16')
    """
    for kind in (np.uint8, np.uint16, np.uint32):
        if largest <= np.iinfo(kind).max:
            return np.dtype(kind)
    raise UserError(f"Token id {largest} needs more than 32 bits; the largest id that can be stored is {2**32 - 1}.")


class _Chunk:
    """Examples that will be one record batch, with their tokens already joined."""

    def __init__(self, examples: list[StoredExample], where: str, extras: Mapping[str, Extra]) -> None:
        self.sides = {
            side: _concatenate([getattr(example, side) for example in examples], f"{where}, {side}")
            for side in ("inputs", "targets")
        }
        self.example_ids = np.array([example.example_id for example in examples], np.int64)
        self.template_ids = np.array([example.template_id for example in examples], np.int32)
        self.options = pa.array([example.options for example in examples], pa.list_(pa.string()))
        self.references = pa.array([example.references for example in examples], pa.list_(pa.string()))
        self.extras = extras
        self.extra_columns = [_extra_column(name, extra, examples, where) for name, extra in extras.items()]

    @property
    def largest(self) -> int:
        return max(int(tokens.max()) if tokens.size else 0 for tokens, _ in self.sides.values())

    def batch(self, token_type: np.dtype) -> pa.RecordBatch:
        columns = [
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens.astype(token_type)))
            for tokens, offsets in self.sides.values()
        ]
        columns += [pa.array(self.example_ids), pa.array(self.template_ids), self.options, self.references]
        return pa.RecordBatch.from_arrays([*columns, *self.extra_columns], schema=schema(token_type, self.extras))


def _extra_column(name: str, extra: Extra, examples: list[StoredExample], where: str) -> pa.Array:
    try:
        return extra.encode([example.extras[name] for example in examples], where)
    except UserError:
        for example in examples:  # which one it is
            extra.encode([example.extras[name]], f"{where}, example {example.example_id}, extra {name!r}")
        raise


def _concatenate(parts: list[np.ndarray], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Joins one or more token lists: tokens in the narrowest type that fits, and 32-bit offsets [n + 1]."""
    offsets = np.zeros(len(parts) + 1, np.int32)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    tokens = np.concatenate([np.asarray(part, np.int64) for part in parts])
    if tokens.size and tokens.min() < 0:
        raise UserError(f"{where}: token id {tokens.min()} is negative. Check the vocabulary.")
    return tokens.astype(smallest_uint_type(int(tokens.max()) if tokens.size else 0)), offsets


def _chunks(examples: Iterable[StoredExample], where: str, extras: Mapping[str, Extra]) -> Iterator[_Chunk]:
    held: list[StoredExample] = []
    tokens = 0
    for example in examples:
        if example.extras.keys() != extras.keys():
            check_names(example.extras, extras, f"{where}, example {example.example_id}")
        held.append(example)
        # An extra's bytes count as tokens do: their offsets have 32 bits as well.
        tokens += len(example.inputs) + len(example.targets) + sum(map(approx_bytes, example.extras.values()))
        if len(held) == CHUNK_EXAMPLES or tokens >= CHUNK_TOKENS:
            yield _Chunk(held, where, extras)
            held, tokens = [], 0
    if held:
        yield _Chunk(held, where, extras)


def write_arrow(
    path: Path,
    examples: Iterable[StoredExample],
    *,
    where: str,
    vocabulary_size: int | None = None,
    extras: Mapping[str, Extra] = NO_EXTRAS,
) -> Totals:
    """Writes examples to one Arrow file.

    Args:
        path: the file, which must not exist.
        examples: read once, in order.
        where: names the task in errors.
        vocabulary_size: fixes the type of a token beforehand, so that chunks are written as they
            fill. Without it they are held, compactly, until the largest id is known.
        extras: the type of every extra that the examples have.

    Raises:
        UserError: a token id that is negative, or not below ``vocabulary_size``; an extra that is
            missing, undeclared, or of another type.
    """
    extras = check_extras(extras, where)
    chunks = _chunks(examples, where, extras)
    if vocabulary_size is None:
        held = list(chunks)
        token_type = smallest_uint_type(max((chunk.largest for chunk in held), default=0))
        chunks = iter(held)
    else:
        token_type = smallest_uint_type(vocabulary_size - 1)
    count, sums, longest = 0, {"inputs": 0, "targets": 0}, {"inputs": 0, "targets": 0}
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema(token_type, extras)) as writer:
        for chunk in chunks:
            if vocabulary_size is not None and chunk.largest >= vocabulary_size:
                raise UserError(
                    f"{where}: token id {chunk.largest} is outside the vocabulary of {vocabulary_size} ids. Check the vocabulary."
                )
            writer.write_batch(chunk.batch(token_type))
            count += len(chunk.example_ids)
            for side, (tokens, offsets) in chunk.sides.items():
                sums[side] += len(tokens)
                longest[side] = max(longest[side], int(np.diff(offsets).max()))
    return Totals(count, sums["inputs"], sums["targets"], longest["inputs"], longest["targets"], token_type.name)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class ChunkedTokens:
    """One side of every example, a ragged array: views into the file, one pair per record batch.

    Attributes:
        values: per chunk, the joined token ids.
        offsets: per chunk, [rows + 1] int32; row i is ``values[offsets[i]:offsets[i + 1]]``.
        starts: [chunks + 1] int64, the first row of every chunk, then the number of rows.
    """

    values: tuple[np.ndarray, ...]
    offsets: tuple[np.ndarray, ...]
    starts: np.ndarray

    def __getitem__(self, row: int) -> np.ndarray:
        chunk = int(np.searchsorted(self.starts, row, side="right")) - 1
        start, end = self.offsets[chunk][row - self.starts[chunk] :][:2]
        return self.values[chunk][start:end]

    def check(self, tokens: int) -> None:
        """Raises ``ValueError`` where the offsets do not cut ``tokens`` tokens out of the values, in order."""
        found = 0
        for values, offsets in zip(self.values, self.offsets, strict=True):
            if offsets[0] < 0 or offsets[-1] > len(values) or np.any(offsets[1:] < offsets[:-1]):
                raise ValueError("its offsets point outside its tokens")
            found += int(offsets[-1] - offsets[0])
        if found != tokens:
            raise ValueError(f"it has {found} tokens on one side instead of {tokens}")

    def lengths(self) -> np.ndarray:
        """[n] int32, the length of every row."""
        return np.concatenate([np.diff(offsets) for offsets in self.offsets] or [np.zeros(0, np.int32)]).astype(
            np.int32
        )


class ArrowTokens:
    """Memory-maps a file that ``write_arrow`` wrote. Tokens are views, never copies.

    Args:
        path: the file.
        token_type: of its tokens.
        extras: the extras that it has.

    Raises:
        ValueError: it has other columns.
        pa.ArrowException: it is no Arrow stream.
    """

    def __init__(self, path: Path, token_type: np.dtype, extras: Mapping[str, Extra] = NO_EXTRAS) -> None:
        # Buffers keep the mapping alive; closing the file here frees its descriptor, of which a
        # mixture of thousands of tasks would otherwise run out.
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            wanted = schema(token_type, extras)
            if not reader.schema.equals(wanted):
                raise ValueError(
                    f"its columns are {_describe_schema(reader.schema)} instead of {_describe_schema(wanted)}"
                )
            self._batches = list(reader)
        rows = [batch.num_rows for batch in self._batches]
        self.starts = np.array(list(itertools.accumulate(rows, initial=0)), np.int64)
        self.inputs = self.side("inputs")
        self.targets = self.side("targets")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def check(self, *, examples: int, input_tokens: int, target_tokens: int) -> None:
        """Compares the structure of the file with what it should hold, without reading its tokens.

        Raises:
            ValueError: it holds something else, or points outside itself.
        """
        if len(self) != examples:
            raise ValueError(f"it has {len(self)} examples instead of {examples}")
        for batch in self._batches:
            batch.validate()
        self.inputs.check(input_tokens)
        self.targets.check(target_tokens)

    def side(self, name: str) -> ChunkedTokens:
        """Returns a column of lists of numbers."""
        columns = [batch.column(name) for batch in self._batches]
        return ChunkedTokens(
            values=tuple(column.values.to_numpy(zero_copy_only=True) for column in columns),
            offsets=tuple(column.offsets.to_numpy(zero_copy_only=True) for column in columns),
            starts=self.starts,
        )

    def integers(self, name: str) -> np.ndarray:
        """Returns a whole integer column, [n]; a view where the file has one record batch."""
        columns = [batch.column(name).to_numpy(zero_copy_only=True) for batch in self._batches]
        if not columns:
            return np.zeros(0, np.int64)
        return columns[0] if len(columns) == 1 else np.concatenate(columns)

    def strings(self, name: str, row: int) -> tuple[str, ...]:
        """Returns the list of strings in one row."""
        chunk = int(np.searchsorted(self.starts, row, side="right")) - 1
        return tuple(self._batches[chunk].column(name)[row - int(self.starts[chunk])].as_py())

    def extra(self, name: str, extra: Extra, row: int) -> np.ndarray | list[np.ndarray]:
        """Decodes the extra of one row (``Extra.decode``)."""
        chunk = int(np.searchsorted(self.starts, row, side="right")) - 1
        return extra.decode(self._batches[chunk].column(EXTRA_PREFIX + name)[row - int(self.starts[chunk])])


def _describe_schema(columns: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in columns)
