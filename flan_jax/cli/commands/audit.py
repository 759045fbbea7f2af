"""Compare what a mixture measures with what it trains on, by data set and by record.

Exit code 0 when nothing is shared, 2 when something is.
"""

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from flan_jax.cli.escapes import json_text, visible, visible_line
from flan_jax.cli.mixture_arguments import add_mixture_arguments, mixture_of
from flan_jax.cli.paths import given_name_or_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flan_jax.data.decontamination.report import Audit, SharedRecords

EXAMPLE = "flan-jax audit flan2021_holdout_entailment --source_dir data   or   flan-jax audit mini --hold_out sentiment"
_SHOWN_TEXT = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "mixture", type=given_name_or_path, help="a mixture, its own clusters held out or those of --hold_out"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="the share of a held-out task's records that may be trained on (default 0; a tenth of a task's own that is trained on)",
    )
    parser.add_argument(
        "--refuse_contained",
        action="store_true",
        help="exit code 2 too where held-out records stand inside longer texts that are trained on (prompts with solved "
        "examples, passages), more than the tolerance",
    )
    add_mixture_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints what is shared.

    Raises:
        UserError: something is, more than is allowed; or nothing is measured.
    """
    from flan_jax.data.decontamination.audit import audit
    from flan_jax.experiments.evaluation.contamination import seen_tasks, unseen_tasks

    if not 0 <= arguments.tolerance <= 1:
        raise UserError(f"--tolerance {arguments.tolerance:g} must be a share from 0 to 1.")
    mixture = mixture_of(arguments, arguments.mixture)
    held_out, held_in = unseen_tasks(mixture), seen_tasks(mixture)
    if not held_out and not held_in:
        raise UserError(f"Mixture {mixture.name!r} measures nothing. Hold clusters or tasks out with --hold_out.")
    trained = mixture.drawn_tasks
    print(
        f"comparing {len(held_out)} held-out tasks, and {len(held_in)} that are measured and trained on, with "
        f"{len(trained)} that are trained on",
        file=sys.stderr,
    )
    found = audit(trained, held_out, held_in=held_in, progress=_progress)
    reason = found.violation(arguments.tolerance, contained=arguments.refuse_contained)
    if arguments.json:
        described = {
            "mixture": mixture.name,
            "tolerance": arguments.tolerance,
            "clean": not reason,
            "reason": reason,
            "held_out": [{"task": task.name, "split": split} for task, split in held_out],
            "measured": [{"task": task.name, "split": split} for task, split in held_in],
            "told": found.notices(),
            **dataclasses.asdict(found),
        }
        print(json_text(described, indent=1))
    else:
        _print(found)
    if reason:
        raise UserError(f"Mixture {mixture.name!r} is contaminated: {reason}. Leave one of the two out.")
    if not arguments.json:
        allowed = f", at most {arguments.tolerance:.2%} of any task" if found.records else ""
        what = "what it holds out" if held_out else "what it measures"
        but = "".join(f"; but {line}" for line in found.notices())
        print(f"Clean: {visible_line(mixture.name)} does not train on {what}{allowed}{but}.")
    return 0


def _progress(name: str, records: int) -> None:
    print(f"read {visible_line(name)}: {records:,} records", file=sys.stderr, flush=True)


def _print(found: "Audit") -> None:
    from flan_jax.report.tables import text_table

    seen = f" and {found.held_in_records:,} measured ones of tasks that are trained on" if found.held_in_records else ""
    print(
        f"{found.held_out_records:,} held-out records{seen} compared with {found.trained_records:,} that are trained on.\n"
    )
    if found.sources:
        print("Made from one data set:\n")
        rows = [[pair.held_out, pair.trained, pair.origin] for pair in found.sources]
        print(visible(text_table(["held out", "trained on", "data set"], rows)) + "\n")
    _print_records("Records in both:", found.records)
    _print_records("Part of a longer text that is trained on, which refuses nothing by itself:", found.contained)
    _print_records("Measured records of tasks that are trained on, which are training records too:", found.held_in)
    if found.not_compared:
        print(f"Not compared, as their records are no text here: {visible_line(', '.join(found.not_compared))}.\n")


def _print_records(heading: str, found: "Sequence[SharedRecords]") -> None:
    from flan_jax.report.tables import text_table

    if not found:
        return
    pairs = sorted(found, key=lambda pair: -pair.records / pair.of)
    rows = [
        [pair.held_out, pair.trained, f"{pair.records:,}", f"{pair.of:,}", f"{pair.records / pair.of:.2%}"]
        for pair in pairs
    ]
    print(f"{heading}\n\n" + visible(text_table(["held out", "trained on", "records", "of", "share"], rows)) + "\n")
    for pair in pairs:
        text = pair.text if len(pair.text) <= _SHOWN_TEXT else pair.text[: _SHOWN_TEXT - 1] + "…"
        print(visible_line(f"  {pair.held_out} in {pair.trained}, first at {pair.place}: {text!r}"))
    print()
