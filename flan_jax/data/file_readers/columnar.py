"""Rows of Parquet files, and of the Arrow files that ``datasets`` saves data sets in."""

import collections
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from flan_jax.data.file_readers.suffixes import suffix_of
from flan_jax.data.formats.record_format import Numbered
from flan_jax.errors import UserError

_ROWS = 1024


def columnar_rows(path: Path, wanted: Collection[int] | None = None) -> Iterator[Numbered]:
    """Yields the rows with their numbers from 0, or those of the numbers ``wanted``.

    Raises:
        UserError: the file is damaged, or has two columns of one name.
    """
    import pyarrow

    arrow = suffix_of(path) == ".arrow"
    try:
        begun = 0
        for batch in _arrow_batches(path) if arrow else _parquet_batches(path):
            if twice := [name for name, count in collections.Counter(batch.schema.names).items() if count > 1]:
                raise UserError(
                    f"{path}: the column {twice[0]!r} stands twice, so one would be lost. Rename or remove one."
                )
            own = range(batch.num_rows)
            chosen = own if wanted is None else [row for row in own if begun + row in wanted]
            rows = batch if wanted is None else batch.take(pyarrow.array(chosen, pyarrow.int64()))
            for row, record in zip(chosen, rows.to_pylist(), strict=True):
                yield begun + row, record
            begun += batch.num_rows
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        kind = "Arrow" if arrow else "Parquet"
        raise UserError(f"{path}: not readable as {kind} ({str(error).splitlines()[0]}). Fetch it again.") from error


def _parquet_batches(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    yield from pyarrow.parquet.ParquetFile(path).iter_batches(_ROWS)


def _arrow_batches(path: Path) -> Iterator[Any]:
    """``datasets`` writes streams; others write files, which begin with a name of their own."""
    import pyarrow

    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    with pyarrow.OSFile(str(path)) as source:
        if is_file:
            reader = pyarrow.ipc.open_file(source)
            batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            batches = iter(pyarrow.ipc.open_stream(source))
        for batch in batches:
            yield from (batch.slice(at, _ROWS) for at in range(0, batch.num_rows, _ROWS))
