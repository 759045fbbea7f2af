"""A table of runs from a CSV file: one row a run, columns of weights and of scores."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.studies.fits.table import RunTable

RUN_COLUMNS = ("run", "name", "index")
"""Columns that name the runs, the first of them that is there; else runs are named by their rows."""


def read_table(
    path: Path,
    *,
    weights: Sequence[str],
    objectives: Sequence[str],
    lower_is_better: bool,
    scores_path: Path | None = None,
) -> RunTable:
    """Reads runs.

    An empty cell of weights is 0, as where a unit was added later; an empty cell of scores is a run without one.

    Args:
        path: of the file, UTF-8, with a header.
        weights: columns of weights, at least two.
        objectives: columns of scores.
        lower_is_better: the direction of all of them.
        scores_path: a second file that has the scores, its rows named as the first one's; scores stand in ``path``
            where it is ``None``.

    Raises:
        UserError: a file cannot be read, a column is missing, text stands where a number belongs, or a row is off the
            simplex.
    """
    if len(weights) < 2:
        raise UserError(
            f"--weights names {len(weights)} columns, and a mixture has at least two. Separate them by commas."
        )
    for name in dict.fromkeys((*weights, *objectives)):
        if (*weights, *objectives).count(name) > 1:
            raise UserError(f"The column {name!r} is named twice. Name each once, as a weight or as an objective.")
    header, rows = _rows(path)
    runs = _names(header, rows, path)
    _check_columns(header, weights, path)
    drawn = [[_number(row, header, name, path, empty=0.0) for name in weights] for row in rows]
    found = {name: _scores(name, runs, (path, header, rows), scores_path) for name in objectives}
    return RunTable(runs, tuple(weights), np.array(drawn), found, {name: not lower_is_better for name in objectives})


def read_scores(path: Path, objective: str, runs: Sequence[str]) -> dict[str, float]:
    """Reads the scores of named runs: run → score, without those that have no row or an empty cell.

    Raises:
        UserError: as ``read_table``, or a row is of none of the runs.
    """
    header, rows = _rows(path)
    _check_columns(header, [objective], path)
    found = {}
    for name, row in zip(_names(header, rows, path), rows, strict=True):
        if name not in runs:
            raise unknown("run", name, runs, remedy=f"Its table is {str(path)!r}.")
        found[name] = _number(row, header, objective, path, empty=math.nan)
    return {name: score for name, score in found.items() if math.isfinite(score)}


def columns_of(path: Path) -> tuple[str, ...]:
    """Returns the names of a table's columns.

    Raises:
        UserError: as ``read_table``.
    """
    return tuple(_rows(path)[0])


Row = tuple[int, list[str]]
"""Line of the file, and its cells."""


def _scores(
    name: str, runs: tuple[str, ...], table: tuple[Path, list[str], list[Row]], other: Path | None
) -> np.ndarray:
    path, header, rows = table
    if other is not None:
        path, (header, rows) = other, _rows(other)
    _check_columns(header, [name], path)
    named = dict(zip(_names(header, rows, path), rows, strict=True))
    if missing := [run for run in runs if run not in named]:
        raise UserError(
            f"{str(path)!r} has no row of run {missing[0]!r}, whose weights are known. Give it one, empty if need be."
        )
    return np.array([_number(named[run], header, name, path, empty=math.nan) for run in runs])


def _rows(path: Path) -> tuple[list[str], list[Row]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise UserError(f"The table {str(path)!r} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The table {str(path)!r} is no CSV file in UTF-8: {error}.") from error
    if len(lines) < 2:
        raise UserError(f"The table {str(path)!r} has no row of a run below its header.")
    header = [cell.strip() for cell in lines[0][1]]
    for line, cells in lines[1:]:
        if len(cells) != len(header):
            raise UserError(f"{str(path)!r}, line {line}: {len(cells)} cells under a header of {len(header)}.")
    return header, lines[1:]


def _names(header: Sequence[str], rows: Sequence[Row], path: Path) -> tuple[str, ...]:
    column = next((name for name in RUN_COLUMNS if name in header), None)
    names = [
        f"row_{at}" if column is None else cells[header.index(column)].strip() for at, (_, cells) in enumerate(rows, 1)
    ]
    for (line, _), name in zip(rows, names, strict=True):
        if names.count(name) > 1:
            raise UserError(
                f"{str(path)!r}, line {line}: run {name!r} is there twice. Give each run a name of its own."
            )
    return tuple(names)


def _check_columns(header: Sequence[str], names: Sequence[str], path: Path) -> None:
    for name in names:
        if name not in header:
            raise unknown("column", name, header, remedy=f"Its table is {str(path)!r}.")
        if header.count(name) > 1:
            raise UserError(f"{str(path)!r} has two columns {name!r}. Rename one.")


def _number(row: Row, header: Sequence[str], name: str, path: Path, *, empty: float) -> float:
    line, cells = row
    text = cells[header.index(name)].strip()
    if not text or text.lower() == "nan":
        return empty
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"{str(path)!r}, line {line}, column {name!r}: {text[:40]!r} is no number. Write one, or leave the cell empty."
        ) from None
