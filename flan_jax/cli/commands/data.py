"""Say what instruction data holds: its format, what it gives, what is left out and why.

A file, a folder of files, or a data set of the Hugging Face hub. Nothing is written.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flan_jax.cli.escapes import json_text, visible_line
from flan_jax.cli.mixture_arguments import add_reading_arguments, reading_of
from flan_jax.cli.paths import given_name_or_path, local_path, name_or_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.data.instructions.report import DataReport, FileReport

EXAMPLE = "flan-jax data chats.json   or   flan-jax data tatsu-lab/alpaca --clean duplicates --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "place",
        type=given_name_or_path,
        metavar="PATH_OR_HUB",
        help="a file, a folder, or OWNER/NAME[:CONFIG][@REVISION]",
    )
    parser.add_argument(
        "--vocabulary",
        type=name_or_path,
        default="",
        help="count what it cannot say: a registered name, 'bytes', a tokenizer's folder or file",
    )
    parser.add_argument("--data_dir", type=local_path, default="", help="folder that paths start from")
    add_reading_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the report.

    Raises:
        UserError: nothing in the data can be used.
    """
    from flan_jax.data.instructions.report import data_report
    from flan_jax.data.sources import base as sources
    from flan_jax.data.tokenizers.registry import load_vocabulary

    if arguments.data_dir:
        sources.set_data_dir(arguments.data_dir)
    place = arguments.place.removeprefix("hf:")  # where a mixture is asked for, a name of the hub begins so
    reading = reading_of(arguments)
    report = data_report(
        place,
        reading.format,
        clean=reading.clean,
        no_clean=reading.no_clean,
        opening=reading.opening,
        vocabulary=load_vocabulary(arguments.vocabulary) if arguments.vocabulary else None,
    )
    if arguments.json:
        print(json_text(report.as_dict(), indent=1))
    else:
        _print(report)
    for note in report.notes:
        print(visible_line(note), file=sys.stderr)
    if report.refused:
        raise UserError(report.refused)
    return 0


def _print(report: "DataReport") -> None:
    for file in report.files:
        more = f" and {file.files - 1:,} more" if file.files > 1 else ""
        print(visible_line(file.place) + more)
        for heading, text in _lines(file):
            print(f"  {heading:<11} {text}")
        for reason in file.reasons:
            print(f"    {visible_line(reason)}")
    if len(report.files) > 1:
        print(
            f"{report.total('files'):,} files: {report.total('records'):,} records → {report.total('examples'):,} examples, "
            f"{report.total('unreadable'):,} unreadable"
        )


def _lines(file: "FileReport") -> Iterator[tuple[str, str]]:
    """(heading, what stands behind it) of a file's counts."""
    from flan_jax.data.formats.unread_keys import format_counts

    named = f", {file.tasks:,} tasks" if file.tasks else ""
    yield "format", f"{file.format} ({file.kind}{named})"
    if file.split != "train":
        yield "split", f"{file.split}: measured, not trained on"
    talk = f" with {file.messages:,} messages, {file.turns:,} of them the assistant's" if file.messages else ""
    yield (
        "records",
        f"{file.records:,} → {file.examples:,} {'conversations' if file.kind == 'chat' else 'examples'}{talk}",
    )
    yield (
        "left out",
        ", ".join(f"{visible_line(reason)} {count:,}" for reason, count in file.filtered.items() if count) or "nothing",
    )
    if file.changed:
        made = {step: f" (+{file.added[step]:,})" if step in file.added else "" for step in file.changed}
        yield "changed", ", ".join(f"{step} {count:,}{made[step]}" for step, count in file.changed.items())
    if file.noticed:
        seen = ", ".join(f"{visible_line(kind)} {count:,}" for kind, count in file.noticed.items())
        yield "left as is", f"{seen} (see --clean placeholders)"
    if file.repeated:
        yield "merged", f"{file.repeated:,} messages with one of the same speaker before"
    if file.not_read:
        yield "not read", visible_line(format_counts(file.not_read))
    for side, count in file.unknown.items():
        pieces = f": {' '.join(map(repr, count['pieces']))}" if count["pieces"] else ""
        yield "unknown", visible_line(f"{count['ids']:,} ids in {count['texts']:,} texts of the {side}{pieces}")
    if file.kind == "chat":
        yield "replies", f"{file.usable:,} to learn from"
    yield "unreadable", f"{file.unreadable:,}"
