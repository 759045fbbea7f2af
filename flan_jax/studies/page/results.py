"""The tables of a study as its folder is now (``StudyResults``).

The tables are those of ``study.sqlite``, made anew in a file of its own: nothing is written into the study's folder, and a
sweep that goes on is not disturbed.
"""

import dataclasses
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder import run_files
from flan_jax.studies.claims import Claims
from flan_jax.studies.database import StudyDatabase
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.objectives import DEFAULT, SCORE, Objective, parse_objective
from flan_jax.studies.study_dir import DATABASE, StudyDir, open_study

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StudyResults:
    """The tables of a study.

    Attributes:
        study: its folder.
        objective: by which its runs are compared.
        runs: rows of the table ``runs``, in the study's order.
        levels: run → factor → its level as text, and as a number where it is one.
        weights: run → unit → share; of runs that have weights of their own.
        scores: measure (``SUITE/METRIC``, ``SUITE/METRIC/CLUSTER``) → run → value, of the newest results of runs that are
            done: means over clusters, or over the tasks of one cluster. The study's objective comes first, also where no
            run has it.
        averages: suite → run → the mean over its tasks by their own metrics, a row of ``scores`` with its interval.
        losses: run → rows of the table ``losses`` of single tasks, of the runs whose weights changed as they trained.
        cost: rows of the view of that name.
        unread: what of the runs' folders could not be read.
        fitted: weights and scores of the runs that are done, as fits read them; a sentence where there are none.
    """

    study: StudyDir
    objective: Objective
    runs: list[Row]
    levels: Mapping[str, Mapping[str, tuple[str, float | None]]]
    weights: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, Mapping[str, float]]
    averages: Mapping[str, Mapping[str, Row]]
    losses: Mapping[str, list[Row]]
    cost: list[Row]
    unread: list[str]
    fitted: RunTable | str

    @property
    def done(self) -> list[Row]:
        """The runs that are done."""
        return [row for row in self.runs if row["state"] == "done"]

    @property
    def values(self) -> Mapping[str, float]:
        """Run → its objective, of the runs that are done and have it."""
        return self.scores[str(self.objective)]


def read_results(root: Path) -> StudyResults:
    """Reads the folder of a study.

    Raises:
        UserError: it is no folder of a study, or a file of it is damaged.
    """
    study = open_study(root)
    objective = parse_objective(str(study.description.get("objective") or DEFAULT))
    with tempfile.TemporaryDirectory() as scratch:
        database = StudyDatabase(Path(scratch) / DATABASE)
        unread = database.update(study, Claims(study.claims))
        try:
            fitted: RunTable | str = database.run_table((str(objective),))
        except UserError as error:
            fitted = str(error).replace(str(Path(scratch)), str(root))
        scores = {str(objective): database.values(objective)}
        for row in database.rows(_MEASURED):
            name = str(Objective(row["suite"], row["metric"], row["cluster"]))
            if name != str(objective):
                scores.setdefault(name, {})[row["run"]] = row["value"]
        return StudyResults(
            study,
            objective,
            database.rows("SELECT * FROM runs ORDER BY number"),
            _by_run(
                database.rows("SELECT * FROM levels ORDER BY rowid"), "factor", lambda r: (r["level"], r["number"])
            ),
            _by_run(database.rows("SELECT * FROM weights ORDER BY rowid"), "unit", lambda r: r["weight"]),
            {name: {run: value for run, value in own.items() if math.isfinite(value)} for name, own in scores.items()},
            _averages(
                database.rows(f"SELECT * FROM scores WHERE newest AND kind = 'suite_tasks' AND metric = '{SCORE}'")
            ),
            {
                run: database.rows(_LOSSES, (run,))
                for run in (plan.name for plan in study.plans)
                if _weights_changed(study, run)
            },
            database.rows("SELECT * FROM cost"),
            unread,
            fitted,
        )


_MEASURED = """
SELECT s.run, s.suite, s.metric, s.cluster, s.value FROM scores s JOIN runs r ON r.run = s.run AND r.state = 'done'
WHERE s.newest AND s.kind IN ('suite', 'cluster') ORDER BY s.held_out DESC, s.suite, s.metric, s.cluster, r.number
"""


_LOSSES = "SELECT step, task, share FROM losses WHERE run = ? AND task <> '' ORDER BY step"


def _by_run(rows: list[Row], key: str, value: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["run"], {})[row[key]] = value(row)
    return found


def _averages(rows: list[Row]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row["suite"], {})[row["run"]] = row
    return found


def _weights_changed(study: StudyDir, run: str) -> bool:
    """Tells if a run wrote down weights that changed: learned ones, or stages."""
    return (study.model_dir(run) / run_files.WEIGHTS).is_file()
