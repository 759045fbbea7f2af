"""Shares of the training tokens over time, of the runs whose weights changed while they trained."""

from typing import Any

from flan_jax.experiments.run_folder import run_files
from flan_jax.report.run import mapping
from flan_jax.report.series import thinned
from flan_jax.studies.page.results import StudyResults

_MOST = 200


def realized_shares(results: StudyResults) -> list[dict[str, Any]]:
    """Collects, of each run with weights that changed, the share of the loss tokens that each cluster had, by step.

    Returns:
        ``run``, and ``clusters``: name → ``steps`` and ``shares``. A task of which a window holds no token counts as 0.
    """
    found = []
    for run, rows in results.losses.items():
        manifest = run_files.read_manifest(results.study.model_dir(run)) or {}
        cluster_of = {
            task: str(mapping(own).get("cluster", "")) for task, own in mapping(manifest.get("tasks")).items()
        }
        steps = sorted({row["step"] for row in rows})
        clusters: dict[str, dict[int, float]] = {}
        for row in rows:
            own = clusters.setdefault(cluster_of.get(row["task"]) or row["task"], dict.fromkeys(steps, 0.0))
            own[row["step"]] += row["share"] or 0.0
        if not steps:
            continue
        curves = {name: thinned(sorted(own.items()), _MOST) for name, own in sorted(clusters.items())}
        found.append(
            {
                "run": run,
                "clusters": {
                    name: {
                        "steps": [step for step, _ in curve],
                        "shares": [float(f"{share:.5g}") for _, share in curve],
                    }
                    for name, curve in curves.items()
                },
            }
        )
    return found
