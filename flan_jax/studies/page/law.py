"""The law that a study's runs follow, as ``flan-jax propose`` fits it, and what was proposed by one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.studies.fits.choice import FamilyChoice, choose
from flan_jax.studies.fits.estimate import Estimate, percentiles
from flan_jax.studies.fits.families import FAMILIES
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.fits.threads import one_thread
from flan_jax.studies.objectives import parse_objective
from flan_jax.studies.page.results import StudyResults
from flan_jax.studies.proposals.clusters import cluster_laws
from flan_jax.studies.proposals.coverage import confirmed
from flan_jax.studies.proposals.effects import RISE, effects
from flan_jax.studies.proposals.measured import PROPOSAL, measured_scores
from flan_jax.studies.proposals.predictive import RESAMPLES, RESAMPLES_SLOW, Predictive, predictive
from flan_jax.studies.proposals.propose import in_direction
from flan_jax.studies.proposals.record import RECORD, read_proposal

Prior = Callable[[tuple[str, ...]], "np.ndarray | None"]
"""Units → the shares that the mixture gives them; ``None`` where that is not known."""
Progress = Callable[[str], None]
_TRACE = 21
_SIDE = 24
"""Steps along a side of the triangle of three units."""


def fitted_law(results: StudyResults, prior_of: Prior, progress: Progress) -> dict[str, Any] | None:
    """Fits laws to the weights and scores of a study's runs.

    Args:
        results: of the study.
        prior_of: where effects are looked at.
        progress: is told what is fitted.

    Returns:
        ``None`` where weights are not varied; ``{"why": sentence}`` where nothing can be fitted. Else the ``families``
        compared, with ``spearman``, ``rmse`` and ``explained`` out of fold; the ``chosen`` and the ``default`` one;
        ``measured``, each run's score and what each family predicted of it out of fold; ``effects`` of units with
        the ``prior`` that they start from and the share that a unit gains (``rise``); ``clusters``, the law of each
        cluster's score with its effects, and ``without_law``, a sentence on each that has none; ``traces``, what is predicted
        as one unit's share changes and the others keep their proportions; of three units a ``surface``; ``notes``.
    """
    if not results.weights:
        return None
    if isinstance(results.fitted, str):
        return {"why": results.fitted}
    try:
        with one_thread():
            choice = choose(results.fitted, str(results.objective), progress=progress)
            return _described(results, choice, prior_of, progress)
    except UserError as error:
        return {"why": str(error)}


def _described(results: StudyResults, choice: FamilyChoice, prior_of: Prior, progress: Progress) -> dict[str, Any]:
    table = choice.table
    progress(f"{choice.chosen}, with resampled runs")
    resamples = RESAMPLES if FAMILIES[choice.chosen].smooth else RESAMPLES_SLOW
    fit = predictive(choice, choice.chosen, seed=0, resamples=resamples)
    own = prior_of(table.units)
    prior = table.weights.mean(axis=0) if own is None else own
    higher = results.objective.higher_is_better
    return {
        "why": None,
        "runs": len(table.runs),
        "units": list(table.units),
        **_compared(choice, higher=higher),
        "effects": [
            {**dataclasses.asdict(effect), "change": _turned(effect.change, higher=higher)}
            for effect in effects(fit, table.units, prior, table.weights)
        ],
        "rise": RISE,
        "prior": dict(zip(table.units, map(float, prior), strict=True)),
        "of_prior": "the mean of the runs" if own is None else "the mixture's own shares",
        **_clusters(results, choice, prior, progress),
        "traces": _traces(fit, table, prior, higher=higher),
        "surface": _surface(fit, higher=higher) if len(table.units) == 3 else None,
        "notes": [*_other_factors(results), *choice.notes],
    }


def _clusters(results: StudyResults, choice: FamilyChoice, prior: np.ndarray, progress: Progress) -> dict[str, Any]:
    """Fits the law of each cluster of a whole suite's objective."""
    own = parse_objective(choice.objective)
    names = [
        name
        for name in results.scores
        if not own.part and name.startswith(f"{own}/") and dataclasses.replace(parse_objective(name), part="") == own
    ]
    if not names:
        return {"clusters": [], "without_law": []}
    progress(f"the laws of {len(names)} clusters")
    table = dataclasses.replace(
        choice.table,
        scores={name: np.array([results.scores[name].get(run, np.nan) for run in choice.table.runs]) for name in names},
        higher_is_better=dict.fromkeys(names, own.higher_is_better),
    )
    laws, without = cluster_laws(choice, table, names, prior=prior)
    return {"clusters": [dataclasses.asdict(law) for law in laws], "without_law": list(without)}


def _compared(choice: FamilyChoice, *, higher: bool) -> dict[str, Any]:
    losses = choice.table.losses(choice.objective)
    sign = -1.0 if higher else 1.0
    return {
        "families": [
            {
                "family": one.family,
                "about": FAMILIES[one.family].about,
                **{name: dataclasses.asdict(getattr(one, name)) for name in ("spearman", "rmse", "explained")},
                "beats_mean": one.beats_mean,
            }
            for one in choice.compared
        ],
        "chosen": choice.chosen,
        "default": choice.default,
        "beats_mean": choice.best.beats_mean,
        "measured": [
            {
                "run": run,
                "score": sign * float(loss),
                "predicted": {one.family: sign * float(one.predicted[:, at].mean()) for one in choice.compared},
            }
            for at, (run, loss) in enumerate(zip(choice.table.runs, losses, strict=True))
        ],
    }


def _other_factors(results: StudyResults) -> list[str]:
    """Says which factors a law over weights does not know of."""
    levels: dict[str, set[str]] = {}
    for row in results.done:
        for name, (level, _) in results.levels.get(row["run"], {}).items():
            if name not in ("seed", "draw"):
                levels.setdefault(name, set()).add(level)
    varied = [name for name, found in levels.items() if len(found) > 1]
    if not varied:
        return []
    return [f"Laws are of the weights alone: what {', '.join(varied)} changed counts as noise to them."]


def _traces(fit: Predictive, table: RunTable, prior: np.ndarray, *, higher: bool) -> list[dict[str, Any]]:
    """Predicts, for each unit, mixtures from none of it to the most that a run has, along Cox's direction."""
    found = []
    for place, unit in enumerate(table.units):
        shares = np.linspace(0.0, float(table.weights[:, place].max()), _TRACE)
        others = np.where(np.arange(len(prior)) == place, 0.0, prior)
        if others.sum() <= 0 or shares[-1] <= 0:
            continue
        mixtures = (1 - shares)[:, None] * others / others.sum() + shares[:, None] * np.eye(len(prior))[place]
        ends = np.array([percentiles(own) for own in fit.resampled_means(mixtures).T])
        lines = {"value": fit.mean(mixtures), "low": ends[:, 0], "high": ends[:, 1]}
        if higher:
            lines = {"value": -lines["value"], "low": -lines["high"], "high": -lines["low"]}
        found.append({"unit": unit, "share": _rounded(shares), **{name: _rounded(own) for name, own in lines.items()}})
    return found


def _surface(fit: Predictive, *, higher: bool) -> list[dict[str, Any]]:
    """Predicts the mixtures of three units on a triangular grid."""
    steps = [(first, second) for first in range(_SIDE) for second in range(_SIDE - first)]
    # Centers of small triangles, all of them inside.
    grid = (np.array([(first, second, _SIDE - 1 - first - second) for first, second in steps]) + 1 / 3) / _SIDE
    values = fit.mean(grid) * (-1.0 if higher else 1.0)
    return [{"weights": _rounded(row), "value": float(value)} for row, value in zip(grid, values, strict=True)]


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _turned(estimate: Estimate, *, higher: bool) -> dict[str, float]:
    return dataclasses.asdict(in_direction(estimate, higher_is_better=higher))


def proposed(results: StudyResults, missing: list[str]) -> dict[str, Any] | None:
    """Reads what was proposed from a study's runs, and what the runs that confirm it measured.

    Args:
        results: of the study.
        missing: gets a sentence where it cannot be read.

    Returns:
        The content of ``proposal.json`` that a page shows, with ``confirmed``: name, ``predicted``, ``measured`` (``None``
        before it has run) and ``covered`` of each mixture; ``same_runs``, where the runs are those that it was made from.
        ``None`` without one.
    """
    folder = results.study.root / PROPOSAL
    if not (folder / RECORD).is_file():
        return None
    try:
        document = read_proposal(folder)
        kept = {name: document.get(name) for name in _KEPT}
        runs = confirmed(str(folder), document, _measured(folder, document, missing))
        table = results.fitted
        then = {row["run"]: round(row["score"], 12) for row in document["measured"]}
    except UserError as error:
        missing.append(str(error))
        return None
    except (KeyError, TypeError, AttributeError) as error:
        missing.append(f"{folder / RECORD} is no proposal ({error!r}), so it is not shown.")
        return None
    now = {} if isinstance(table, str) else {run: round(value, 12) for run, value in results.values.items()}
    return {
        **kept,
        "confirmed": [
            {**dataclasses.asdict(run), "covered": run.covered, "place": str(Path(run.place).name)} for run in runs
        ],
        "same_runs": then == now,
    }


_KEPT = (
    "objective", "higher_is_better", "runs", "family", "method", "pull", "divergence", "mixtures", "predictions",
    "by_family", "gain", "beats_mean", "at_limit", "effects", "notes", "prior", "clusters",
)  # fmt: skip


def _measured(folder: Path, document: dict[str, Any], missing: list[str]) -> dict[str, float]:
    try:
        return measured_scores(folder, document)
    except UserError as error:
        missing.append(str(error))
        return {}
