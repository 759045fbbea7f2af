"""``report.html`` of a study: one self-contained file, with the styles and charts of a run's page."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.report.page import page_text, save_page
from flan_jax.report.tables import text_table
from flan_jax.studies.page.document import study_document
from flan_jax.studies.page.law import Prior, Progress

PROGRAMS = (
    "dom.js", "charts.js", "shell.js", "study_charts.js", "study.js", "study_weights.js", "study_runs.js", "study_start.js",
)  # fmt: skip
"""Of ours, in the order in which they are joined."""


def write_study_report(
    root: Path, output: Path, *, prior_of: Prior = lambda units: None, progress: Progress = lambda words: None
) -> Path:
    """Writes the page of a study and returns its path.

    Args:
        root: the folder of the study.
        output: the file.
        prior_of, progress: as ``study_document`` takes them.

    Raises:
        UserError: it is no folder of a study, a file of it is damaged, or the output cannot be written.
    """
    content = study_document(root, prior_of=prior_of, progress=progress)
    return save_page(render_study(content, root, output), output)


def render_study(content: Mapping[str, Any], root: Path, output: Path) -> str:
    """Builds the page as text.

    Args:
        content: of ``study_document``.
        root: the folder of the study.
        output: where the page will lie, from which the pages of its runs are linked.
    """
    runs = os.path.relpath(Path(root).resolve() / "runs", Path(output).resolve().parent)
    return page_text({**content, "runs_folder": Path(runs).as_posix()}, PROGRAMS, table=_table(content))


def _table(content: Mapping[str, Any]) -> str:
    """The runs as text, for a browser without JavaScript."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.4g}"

    rows = [
        [
            run["run"],
            run["state"],
            number(run["objective"]),
            ", ".join(f"{name}={level}" for name, level in run["levels"].items()),
        ]
        for run in content["runs"]
    ]
    return text_table(["run", "state", content["objective"]["name"], "levels"], rows)
