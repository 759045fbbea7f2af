"""``proposal.json``: what was proposed and predicted before anything ran, and the gin files of the three runs."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import atomic_write_text, writing
from flan_jax.studies.fits.choice import FamilyChoice
from flan_jax.studies.proposals.propose import Proposal

RECORD = "proposal.json"
VERSION = 1
_DIGITS = 6


def proposal_document(proposal: Proposal, choice: FamilyChoice) -> dict[str, Any]:
    """Returns all that is known of a proposal as JSON holds it: fits, predictions, and the runs that were fitted.

    ``measured`` holds, of each run, what a plot of predicted against measured shows: the mean over repeats of its
    prediction out of fold, in the objective's own direction.
    """
    sign = -1.0 if proposal.higher_is_better else 1.0
    losses = choice.table.losses(choice.objective)
    return {
        "version": VERSION,
        **dataclasses.asdict(proposal),
        "default_family": choice.default,
        "chosen_family": choice.chosen,
        "noise_ceiling": None if choice.ceiling is None else dataclasses.asdict(choice.ceiling),
        "cross_validation": {
            own.family: {
                "spearman": dataclasses.asdict(own.spearman),
                "rmse": dataclasses.asdict(own.rmse),
                "explained": dataclasses.asdict(own.explained),
                "beats_mean": own.beats_mean,
            }
            for own in choice.compared
        },
        "measured": [
            {
                "run": run,
                "weights": dict(zip(choice.table.units, map(float, weights), strict=True)),
                "score": sign * float(loss),
                "predicted": {own.family: sign * float(own.predicted[:, at].mean()) for own in choice.compared},
            }
            for at, (run, weights, loss) in enumerate(zip(choice.table.runs, choice.table.weights, losses, strict=True))
        ],
    }


def write_proposal(
    document: Mapping[str, Any], folder: Path, *, include: str = "", runs: Path | None = None
) -> tuple[Path, ...]:
    """Writes ``proposal.json`` and a gin file for each of the three mixtures.

    Args:
        document: of ``proposal_document``.
        folder: where to; made if need be.
        include: a gin file that the three include: the run that they differ from in their weights alone.
        runs: folder in which each of the three gets its MODEL_DIR; ``None`` leaves that to whoever runs them.

    Returns:
        The paths written.

    Raises:
        UserError: a proposal stands there whose runs were begun: its predictions came before them and must stay.
        WritingError: the file system takes no more.
    """
    check_not_begun(folder, document)
    document = {**document, "runs_dir": None if runs is None else os.path.relpath(runs, folder)}
    paths = []
    with writing(folder):
        for name, weights in document["mixtures"].items():
            path = folder / f"{name}.gin"
            atomic_write_text(path, gin_text(document, name, weights, include=include, runs=runs))
            paths.append(path)
        record = folder / RECORD
        atomic_write_text(record, json.dumps(without_nan(document), indent=1, allow_nan=False) + "\n")
    return (record, *paths)


def read_proposal(folder: Path) -> dict[str, Any]:
    """Reads ``proposal.json``.

    Raises:
        UserError: it is not there, or not what ``write_proposal`` wrote.
    """
    path = folder / RECORD
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{str(folder)!r} holds no {RECORD}. Make it with `flan-jax propose`.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}.") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise UserError(f"{str(path)!r} is no proposal of version {VERSION}.")
    return document


def gin_text(
    document: Mapping[str, Any], name: str, weights: Mapping[str, float], *, include: str, runs: Path | None
) -> str:
    """Returns the gin file of one mixture, with what is predicted of it above."""
    predicted = document["predictions"][name]
    lines = [
        f"# The {name} mixture of {document['runs']} runs fitted by {document['family']}, written before it ran.",
        f"# Predicted {document['objective']}: {predicted['value']:.4g}, "
        f"95% interval of one run {predicted['low']:.4g} to {predicted['high']:.4g}.",
    ]
    if include:
        lines += ["", f"include {include!r}"]
    if runs is not None:
        lines += ["", f"run.model_dir = {str(runs / name)!r}"]
    lines += ["", "run.weights = {"]
    lines += [f"    {unit!r}: {share:.{_DIGITS}g}," for unit, share in weights.items()]
    return "\n".join([*lines, "}", ""])


def check_not_begun(folder: Path, document: Mapping[str, Any]) -> None:
    """Refuses to write a proposal anew whose runs have begun: what is predicted must stand before it is measured.

    Raises:
        UserError: such a proposal stands in the folder, with other mixtures.
    """
    if not (folder / RECORD).exists():
        return
    earlier = read_proposal(folder)
    begun = [
        name for name in earlier["mixtures"] if earlier["runs_dir"] and (folder / earlier["runs_dir"] / name).exists()
    ]
    if begun and (earlier["mixtures"], earlier["predictions"]) != _as_read(document):
        raise UserError(
            f"{str(folder / RECORD)!r} predicts the run {begun[0]!r}, which has begun, so it is not written anew. Give another "
            "folder (--output_dir)."
        )


def _as_read(document: Mapping[str, Any]) -> tuple[Any, Any]:
    read = json.loads(json.dumps(without_nan({key: document[key] for key in ("mixtures", "predictions")})))
    return read["mixtures"], read["predictions"]


def without_nan(value: Any) -> Any:
    """Replaces NaN, which JSON does not have, by null: constant predictions have no rank correlation."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(own) for own in value]
    return value
