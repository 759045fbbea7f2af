"""Scores of the runs that confirm a proposal: from their folders, or from a table that somebody wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.eval.results import read_results, saved_steps
from flan_jax.studies.fits.table_file import read_scores
from flan_jax.studies.objectives import means, parse_objective
from flan_jax.studies.proposals.record import RECORD

TABLE = "measured.csv"
"""Beside ``proposal.json``: columns ``run`` (the mixture's name) and the objective, for runs that were made elsewhere."""
PROPOSAL = "proposal"
"""Folder of a study's proposal."""


def proposal_folder(place: Path) -> Path:
    """Returns the folder of ``proposal.json``: the place itself, or ``proposal`` in it.

    Raises:
        UserError: it is in neither.
    """
    for folder in (place, place / PROPOSAL):
        if (folder / RECORD).is_file():
            return folder
    raise UserError(
        f"Neither {str(place)!r} nor its folder {PROPOSAL!r} holds {RECORD}. Make it with `flan-jax propose`."
    )


def measured_scores(folder: Path, document: Mapping[str, Any]) -> dict[str, float]:
    """Returns mixture → score, of those that were run.

    Args:
        folder: of ``proposal.json``.
        document: what it says.

    Raises:
        UserError: a table or results cannot be read.
    """
    names, objective = tuple(document["mixtures"]), document["objective"]
    table = folder / TABLE
    if table.is_file():
        return read_scores(table, objective, names)
    runs = document.get("runs_dir")
    if not runs:
        return {}
    # Relative to the record, so that a study can be moved.
    found = {name: _score(folder / runs / name, objective) for name in names}
    return {name: score for name, score in found.items() if score is not None}


def _score(model_dir: Path, objective: str) -> float | None:
    """Returns the objective of a run's last evaluation; ``None`` where there is none."""
    steps = saved_steps(model_dir)
    if not steps:
        return None
    asked = parse_objective(objective)
    results = read_results(model_dir, max(steps)).suites.get(asked.suite)
    if results is None:
        raise UserError(
            f"{str(model_dir)!r} measured no suite {asked.suite!r} at step {max(steps)}. Evaluate it there."
        )
    for mean in means(results):
        if mean.metric == asked.metric and mean.cluster == asked.part:
            return mean.value
    raise UserError(f"{str(model_dir)!r} has no {objective!r} at step {max(steps)}. Evaluate it with that metric.")
