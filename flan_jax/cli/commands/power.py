"""Say how many examples two models must answer for a difference between them to show, or what so many examples show.

Both models answer the same examples, and a two-sided paired test compares them. Give the accuracy of the first and how
often the two disagree, or two files of predictions (MODEL_DIR/eval/STEP/predictions/TASK.jsonl) to take both from.
Accuracies, differences and disagreement are in points, from 0 to 100.
"""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import json_text, visible
from flan_jax.cli.paths import given_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.eval.statistics.power import PairedDesign

EXAMPLE = (
    "flan-jax power --difference 2 --accuracy 70 --disagreement 15   or   flan-jax power --examples 500 "
    "--predictions runs/a/eval/900/predictions/rte.jsonl runs/b/eval/900/predictions/rte.jsonl"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--difference", type=float, help="points by which the second is better")
    parser.add_argument("--examples", type=int, help="how many there are: says what they show")
    parser.add_argument("--accuracy", type=float, help="of the first model, in points")
    parser.add_argument(
        "--disagreement", type=float, help="points: examples that just one of the two has right, of a hundred"
    )
    parser.add_argument("--correlation", type=float, help="of being right, over examples, in place of --disagreement")
    parser.add_argument("--predictions", nargs=2, type=given_path, metavar="FILE", help="two files of predictions")
    parser.add_argument("--power", type=float, default=0.8, help="chance that the difference is found (default 0.8)")
    parser.add_argument("--alpha", type=float, default=0.05, help="level of the test (default 0.05)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the answer."""
    _check(arguments)
    design, seen = _design(arguments)
    found = _answers(arguments, design, seen)
    if arguments.json:
        print(json_text({**seen, **dataclasses.asdict(design), **found}, indent=1))
    else:
        print(visible("\n".join(_lines(arguments, design, seen, found))))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.difference is None and arguments.examples is None:
        raise UserError("Give --difference to learn how many examples it needs, or --examples to learn what they show.")
    for name, low, high in (
        ("difference", 0, 100), ("disagreement", 0, 100), ("correlation", -1, 1), ("power", 0, 1), ("alpha", 0, 1)
    ):  # fmt: skip
        value = getattr(arguments, name)
        if value is not None and not low < value <= high:
            raise UserError(f"--{name} {value:g} must be above {low} and at most {high}.")
    for name in ("power", "alpha"):
        if getattr(arguments, name) == 1:
            raise UserError(f"--{name} 1 must be below 1: no number of examples makes a test certain.")
    if arguments.power <= arguments.alpha:
        raise UserError(
            f"--power {arguments.power:g} must be above --alpha {arguments.alpha:g}: a test finds as much where there is nothing."
        )
    if arguments.accuracy is not None and not 0 <= arguments.accuracy <= 100:
        raise UserError(f"--accuracy {arguments.accuracy:g} must lie between 0 and 100.")
    if arguments.examples is not None and not 1 <= arguments.examples <= 10_000_000:
        raise UserError(f"--examples {arguments.examples} must lie between 1 and 10,000,000.")
    given = [name for name in ("accuracy", "disagreement", "correlation") if getattr(arguments, name) is not None]
    if arguments.predictions and given:
        raise UserError(f"--predictions say what --{given[0]} says. Leave one of them out.")
    if not arguments.predictions and ("accuracy" not in given or len(given) != 2):
        raise UserError("Give --accuracy with --disagreement or with --correlation, or two files with --predictions.")


def _design(arguments: argparse.Namespace) -> tuple["PairedDesign", dict[str, Any]]:
    """Collects what is known of the models, and what the files of predictions showed of them."""
    from flan_jax.eval.statistics.power import PairedDesign

    if not arguments.predictions:
        share = None if arguments.disagreement is None else arguments.disagreement / 100
        return PairedDesign(arguments.accuracy / 100, share, arguments.correlation), {}
    import numpy as np

    from flan_jax.eval.results import read_prediction_file
    from flan_jax.eval.same_examples import unlike_examples

    first, second = (list(read_prediction_file(Path(path))) for path in arguments.predictions)
    if not first or not second:
        raise UserError(f"{arguments.predictions[0 if not first else 1]!r} holds no predictions.")
    unlike = unlike_examples(first, second)
    if unlike:
        raise UserError(f"The two files cannot be paired: {unlike}. Give predictions of the same examples.")
    scores = [np.asarray([prediction.score for prediction in own], np.float64) for own in (first, second)]
    changes = scores[1] - scores[0]
    seen = {
        "measured": len(changes),
        "measured_first": float(scores[0].mean()),
        "measured_second": float(scores[1].mean()),
        "measured_correlation": _correlation(*scores),
    }
    if np.isin(scores, (0.0, 1.0)).all():
        return PairedDesign(seen["measured_first"], disagreement=float(np.mean(changes != 0))), seen
    return PairedDesign(variance=float(changes.var(ddof=1)) if len(changes) > 1 else 0.0), seen


def _correlation(first: Any, second: Any) -> float | None:
    if first.std() == 0 or second.std() == 0:
        return None
    import numpy as np

    return float(np.corrcoef(first, second)[0, 1])


def _answers(arguments: argparse.Namespace, design: "PairedDesign", seen: dict[str, Any]) -> dict[str, Any]:
    from flan_jax.eval.statistics import power

    if (design.variance if design.variance is not None else design.disagreement) == 0:
        raise UserError("The two models never differ on these examples, so nothing can be planned from them.")
    wanted = {"wanted": arguments.power, "alpha": arguments.alpha}
    found: dict[str, Any] = {"alpha": arguments.alpha, "power": arguments.power}
    if arguments.difference is not None:
        points = arguments.difference / 100
        found |= {
            "difference": points,
            "examples_needed": power.examples_needed(design, points, **wanted),
            "examples_by_formula": power.examples_by_formula(design, points, **wanted),
        }
        if design.variance is None:
            found["disagreement_at_difference"] = design.disagreement_at(points)
    count = arguments.examples or (seen.get("measured") if arguments.difference is None else None)
    if count:
        found |= {"examples": count, "smallest_difference": power.smallest_difference(design, count, **wanted)}
        if arguments.difference is not None:
            found["power_with_examples"] = power.power(design, found["difference"], count, alpha=arguments.alpha)
    return found


def _lines(
    arguments: argparse.Namespace, design: "PairedDesign", seen: dict[str, Any], found: dict[str, Any]
) -> list[str]:
    lines = []
    if seen:
        lines.append(
            f"Measured on {seen['measured']:,} examples: {100 * seen['measured_first']:.1f} and "
            f"{100 * seen['measured_second']:.1f} points."
        )
    if design.variance is not None:
        lines.append(f"Differences of single examples deviate by {100 * math.sqrt(design.variance):.1f} points.")
    elif design.disagreement is not None:
        lines.append(f"The two disagree on {100 * design.disagreement:.1f}% of the examples.")
    test = "by a normal approximation" if design.variance is not None else "McNemar's exact test"
    lines.append(f"Two-sided paired test ({test}), alpha {arguments.alpha:g}, power {arguments.power:g}.")
    if "examples_needed" in found:
        at = found.get("disagreement_at_difference")
        on = f", where they disagree on {100 * at:.1f}%" if at is not None and design.correlation is not None else ""
        by = "" if design.variance is not None else f" (normal approximation: {found['examples_by_formula']:,})"
        lines.append(
            f"A difference of {arguments.difference:g} points{on} needs {found['examples_needed']:,} examples{by}."
        )
    if "smallest_difference" in found:
        least = found["smallest_difference"]
        shown = "no difference that these models can have" if least is None else f"{100 * least:.2f} points"
        lines.append(f"The smallest difference that {found['examples']:,} examples show: {shown}.")
    if "power_with_examples" in found:
        lines.append(
            f"They show one of {arguments.difference:g} points with probability {found['power_with_examples']:.3f}."
        )
    return lines
