"""The runs that ``flan-jax propose`` fits, from CSV files by the names and patterns of its options."""

import argparse
import fnmatch
from collections.abc import Sequence
from pathlib import Path

from flan_jax.errors import UserError, unknown
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.fits.table_file import columns_of, read_table


def csv_tables(arguments: argparse.Namespace) -> tuple[list[RunTable], list[str]]:
    """Reads the CSV files that the options of ``propose`` name; returns them with the columns of clusters' scores.

    Raises:
        UserError: a column is in none of them, or a file is no table of runs.
    """
    if arguments.scores and len(arguments.table) > 1:
        raise UserError("--scores is of one table, and --table names several. Put their scores into the tables.")
    columns = [columns_of(Path(path)) for path in arguments.table]
    known = list(dict.fromkeys(name for own in columns for name in own))
    units = _named_columns(arguments.weights, "--weights", known)
    scored = columns_of(Path(arguments.scores)) if arguments.scores else known
    clusters = _named_columns(arguments.clusters, "--clusters", scored) if arguments.clusters else []
    objectives = list(dict.fromkeys(filter(None, (arguments.objective, arguments.beside, *clusters))))
    tables = [
        read_table(
            Path(path),
            # A unit that was added later is no column of an earlier table.
            weights=[unit for unit in units if unit in own or len(columns) == 1],
            objectives=objectives,
            lower_is_better=arguments.better == "lower",
            scores_path=Path(arguments.scores) if arguments.scores else None,
        )
        for path, own in zip(arguments.table, columns, strict=True)
    ]
    return tables, [name for name in clusters if name != arguments.objective]


def _named_columns(text: str, option: str, known: Sequence[str]) -> list[str]:
    """Returns the columns that an option names or that match a pattern of it."""
    found: dict[str, None] = {}
    for name in (piece.strip() for piece in text.split(",")):
        matching = [name] if name in known else fnmatch.filter(known, name)
        if not matching:
            raise unknown(f"column in {option}", name, known)
        found.update(dict.fromkeys(matching))
    return list(found)
