"""The results of a study as one SQLite file, which pandas and the sqlite3 shell open; made from the runs' folders alone.

Nothing depends on it: where it is missing, damaged or of another version, it is made anew. SQLite's locks do not hold on
file systems that several machines share, so none is relied on: SQLite writes to a copy on this machine's own disk, which
then takes the place of the shared file whole. A reader keeps the file that it has opened.
"""

import contextlib
import dataclasses
import errno
import json
import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax import files
from flan_jax.errors import UserError, unknown
from flan_jax.studies.claims import Claims
from flan_jax.studies.database_schema import SCHEMA_VERSION, TABLES, VIEWS
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.objectives import DEFAULT, Objective, parse_objective
from flan_jax.studies.run_rows import RunRows, rows_of, stamp_of
from flan_jax.studies.run_states import RunState, run_states
from flan_jax.studies.scheduler import read_groups
from flan_jax.studies.study_dir import DATABASE, PLANS, StudyDir

_ROW_TABLES = ("levels", "weights", "scores", "losses")


@dataclasses.dataclass(frozen=True)
class StudyDatabase:
    """The database of a study.

    Attributes:
        path: of the file.
    """

    path: Path

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection that reads; it is closed at the end.

        Raises:
            UserError: there is no such file, or it is no database of a study.
        """
        if not self.path.is_file():
            raise UserError(
                f"There is no {str(self.path)!r}. `flan-jax sweep --study_dir {self.path.parent}` makes it from the runs' folders."
            )
        # The file is replaced and never written to, so a reader asks for no lock.
        with contextlib.closing(
            sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as it:
            it.row_factory = sqlite3.Row
            version = _version(it)
            if version != SCHEMA_VERSION:
                raise UserError(
                    f"{str(self.path)!r} is no database of a study, or one of another version. `flan-jax sweep --study_dir "
                    f"{self.path.parent}` makes it anew from the runs' folders."
                )
            yield it

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Returns what a query finds, a mapping a row."""
        with self.connected() as connection:
            return [dict(row) for row in connection.execute(query, values)]

    def objectives(self) -> list[str]:
        """Lists the objectives that at least one run which is done has."""
        found = self.rows(
            "SELECT DISTINCT s.suite, s.metric FROM scores s JOIN runs r ON r.run = s.run AND r.state = 'done' "
            "WHERE s.newest AND s.kind = 'suite' ORDER BY s.suite, s.metric"
        )
        return [f"{row['suite']}/{row['metric']}" for row in found]

    def cluster_objectives(self, objective: Objective) -> list[str]:
        """Lists the clusters of a whole suite's objective that at least one run which is done has, as objectives."""
        found = self.rows(
            "SELECT DISTINCT s.cluster FROM scores s JOIN runs r ON r.run = s.run AND r.state = 'done' "
            "WHERE s.newest AND s.kind = 'cluster' AND s.suite = ? AND s.metric = ? ORDER BY s.cluster",
            (objective.suite, objective.metric),
        )
        if objective.part:
            return []
        return [str(dataclasses.replace(objective, part=row["cluster"])) for row in found]

    def left_out(self) -> dict[str, str]:
        """Returns the runs that no fit reads, by name, and why not."""
        found = self.rows("SELECT run, state, reason FROM runs WHERE state <> 'done' ORDER BY number")
        return {row["run"]: f"{row['state']}{': ' if row['reason'] else ''}{row['reason']}" for row in found}

    def run_table(self, objectives: Sequence[str] = ()) -> RunTable:
        """Returns weights and scores of the runs that are done; ``left_out`` names the others.

        Args:
            objectives: as ``parse_objective`` reads them; none for the study's own.

        Raises:
            UserError: no run is done, none has weights of its own, or none has one of the objectives.
        """
        names = tuple(objectives) or (self._about()["objective"],)
        runs = [row["run"] for row in self.rows("SELECT run FROM runs WHERE state = 'done' ORDER BY number")]
        if not runs:
            raise UserError(f"No run of the study in {str(self.path.parent)!r} is done, so there is nothing to fit.")
        found = self.rows("SELECT run, unit, weight FROM weights")
        units = tuple(dict.fromkeys(row["unit"] for row in found))
        if not units:
            raise UserError(
                f"The study in {str(self.path.parent)!r} gives its runs no weights of their own, so nothing can be fitted to them."
            )
        weights = np.zeros((len(runs), len(units)))
        rows, columns = ({name: place for place, name in enumerate(names)} for names in (runs, units))
        for row in found:
            if row["run"] in rows:
                weights[rows[row["run"]], columns[row["unit"]]] = row["weight"]
        parsed = {name: parse_objective(name) for name in names}
        return RunTable(
            tuple(runs),
            units,
            weights,
            {name: self._scores(objective, runs) for name, objective in parsed.items()},
            {name: objective.higher_is_better for name, objective in parsed.items()},
        )

    def _scores(self, objective: Objective, runs: Sequence[str]) -> np.ndarray:
        found = self.values(objective)
        if not any(run in found for run in runs):
            raise unknown("objective", str(objective), self.objectives(), remedy="No run that is done has it.")
        return np.array([found.get(run, math.nan) for run in runs])

    def values(self, objective: Objective) -> dict[str, float]:
        """Returns the objective of each run that is done and has it, by name."""
        part = "s.kind = 'suite'"
        values = [objective.suite, objective.metric]
        if objective.part:
            part = "(s.kind = 'cluster' AND s.cluster = ? OR s.kind = 'task' AND s.task = ?)"
            values += [objective.part, objective.part]
        found = self.rows(
            "SELECT s.run, s.value FROM scores s JOIN runs r ON r.run = s.run AND r.state = 'done' "
            f"WHERE s.newest AND s.suite = ? AND s.metric = ? AND {part} ORDER BY r.number",
            values,
        )
        return {row["run"]: row["value"] for row in found}

    def _about(self) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self.rows("SELECT key, value FROM about")}

    def update(self, study: StudyDir, claims: Claims, names: Iterable[str] | None = None) -> list[str]:
        """Brings the rows of runs up to date, of all of them or of some; call it under a claim, so that one process writes.

        A file that is missing, damaged or of another version is made anew. Rows of runs whose files have not changed stay.
        Of two processes that write all the same (a claim was taken over), the later one's file stands: it may lack rows of
        the other's until all runs are brought up to date once more, which every sweep does when it begins and ends.

        Returns:
            What of the runs' folders could not be read, in sentences.

        Raises:
            WritingError: the file system takes no more.
        """
        states = run_states(study, claims)
        with tempfile.TemporaryDirectory(prefix="flan_jax_study_") as folder:
            copy = Path(folder) / DATABASE
            with _writing(copy):
                made = not self._copied(copy)
                with contextlib.closing(sqlite3.connect(copy)) as connection:
                    if made:
                        _make_tables(connection)
                    unread = _update(connection, study, states, None if made else names)
            with files.atomic_file(self.path) as temporary:
                shutil.copyfile(copy, temporary)
                # That of a process which was killed while it wrote to the shared file, as earlier versions did.
                self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        return unread

    def _copied(self, copy: Path) -> bool:
        """Copies the file, and tells whether the copy is a database of this version; else there is none."""
        try:
            shutil.copyfile(self.path, copy)
        except FileNotFoundError:
            return False
        try:
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                if (
                    _version(connection) == SCHEMA_VERSION
                    and connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
                ):
                    return True
        except sqlite3.DatabaseError:  # it is damaged
            pass
        copy.unlink()
        return False


def database_of(study: StudyDir) -> StudyDatabase:
    """Returns the database of a study, which need not be there yet."""
    return StudyDatabase(study.database)


def open_database(study_dir: Path) -> StudyDatabase:
    """Returns the database in a study's folder, to be read.

    Raises:
        UserError: there is no such folder, or neither a database nor a study is in it.
    """
    if not study_dir.is_dir():
        raise UserError(f"There is no folder {str(study_dir)!r}. Name the folder of a study.")
    if not any((study_dir / name).is_file() for name in (DATABASE, PLANS)):
        raise UserError(
            f"{str(study_dir)!r} holds no {PLANS}, so it is not the folder of a study. Name another, or begin a study there "
            "with `flan-jax sweep`."
        )
    return StudyDatabase(study_dir / DATABASE)


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.executescript(TABLES)
    for name, (question, query) in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
        connection.execute("INSERT INTO views VALUES (?, ?)", (name, question))


def _update(
    connection: sqlite3.Connection, study: StudyDir, states: Mapping[str, RunState], names: Iterable[str] | None
) -> list[str]:
    """Writes what changed, in one transaction."""
    stamps = dict(connection.execute("SELECT run, stamp FROM runs").fetchall())
    unread: list[str] = []
    with connection:
        for name in states if names is None else names:
            record, state = states[name].record, states[name].state
            folder = study.model_dir(name)
            if stamps.get(name) != stamp_of(folder, record, state):
                rows = rows_of(study.plan(name), folder, record, state)
                _replace(connection, rows)
                unread += [f"{name}: {line}" for line in rows.unread] if state == "done" else []
        objective = parse_objective(str(study.description.get("objective") or DEFAULT))
        better = "higher" if objective.higher_is_better else "lower"
        about = {"objective": str(objective), "better": better, "study": json.dumps(study.description)}
        connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", about.items())
        connection.execute("DELETE FROM groups")
        pairs = [(group.name, run) for group in read_groups(study) for run in group.runs]
        connection.executemany("INSERT OR REPLACE INTO groups VALUES (?, ?)", pairs)
    return unread


def _replace(connection: sqlite3.Connection, rows: RunRows) -> None:
    for table in _ROW_TABLES:
        connection.execute(f"DELETE FROM {table} WHERE run = ?", (rows.run["run"],))
    found = {
        "runs": [rows.run],
        "levels": rows.levels,
        "weights": rows.weights,
        "scores": rows.scores,
        "losses": rows.losses,
    }
    for table, own in found.items():
        columns = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" for _ in columns)
        connection.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES ({marks})", [[row.get(column) for column in columns] for row in own]
        )


def _version(connection: sqlite3.Connection) -> int:
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # it is locked, or the disk fails
            raise
        return -1  # it is no database


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Says in one sentence that the disk is full."""
    try:
        with files.writing(path):
            yield
    except sqlite3.OperationalError as error:
        if "full" not in str(error) and "readonly" not in str(error):
            raise
        code = errno.ENOSPC if "full" in str(error) else errno.EROFS
        raise files.WritingError(
            files.sentence(code, path, "The runs' folders hold everything that it is made from.")
        ) from error
