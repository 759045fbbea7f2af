"""Say what instruction data holds: its format, what it gives, what is left out and why.

A file, a folder of files, or a data set of the Hugging Face hub. Nothing is written.
"""

import argparse
import json

EXAMPLE = "flan-jax data chats.json   or   flan-jax data tatsu-lab/alpaca --clean duplicates --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("place", metavar="PATH_OR_HUB", help="a file, a folder, or OWNER/NAME[:CONFIG][@REVISION]")
    parser.add_argument("--format", default="auto", help="the records' format; default: told by the first of them")
    parser.add_argument(
        "--clean",
        action="append",
        default=[],
        metavar="STEP",
        help="clean with this step too: markdown, opening, placeholders, empty, refused, duplicates, split; repeatable",
    )
    parser.add_argument(
        "--no-clean",
        action="append",
        default=[],
        metavar="STEP",
        help="leave out a step that is on by itself, or 'all' of them; repeatable",
    )
    parser.add_argument(
        "--vocabulary",
        default="",
        help="count what it cannot say: a registered name, 'bytes', a tokenizer's folder or file",
    )
    parser.add_argument("--data_dir", default="", help="folder that paths start from")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    from flan_jax.data import sources
    from flan_jax.data.formats.report import data_report
    from flan_jax.data.formats.unread import told
    from flan_jax.data.tokenizers import load_vocabulary

    if arguments.data_dir:
        sources.set_data_dir(arguments.data_dir)
    place = arguments.place.removeprefix("hf:")  # where a mixture is asked for, a name of the hub begins so
    report = data_report(
        place,
        arguments.format,
        clean=tuple(arguments.clean),
        no_clean=tuple(arguments.no_clean),
        vocabulary=load_vocabulary(arguments.vocabulary) if arguments.vocabulary else None,
    )
    if arguments.json:
        print(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
        return 0
    for file in report.files:
        print(f"{file.place}")
        named = f", {file.tasks:,} tasks" if file.tasks else ""
        print(f"  format      {file.format} ({file.kind}{named})")
        talk = f" with {file.messages:,} messages, {file.turns:,} of them the assistant's" if file.messages else ""
        what = "conversations" if file.kind == "chat" else "examples"
        print(f"  records     {file.records:,} → {file.examples:,} {what}{talk}")
        out = [f"{reason} {number:,}" for reason, number in file.left_out.items() if number]
        print(f"  left out    {', '.join(out) or 'nothing'}")
        if file.changed:
            made = {step: f" (+{file.added[step]:,})" if step in file.added else "" for step in file.changed}
            print(f"  changed     {', '.join(f'{step} {n:,}{made[step]}' for step, n in file.changed.items())}")
        if file.noticed:
            print(
                f"  left as is  {', '.join(f'{kind} {n:,}' for kind, n in file.noticed.items())} (see --clean placeholders)"
            )
        if file.repeated:
            print(f"  merged      {file.repeated:,} messages with one of the same speaker before")
        if file.not_read:
            print(f"  not read    {told(file.not_read)}")
        for side, count in file.unknown.items():
            pieces = f": {' '.join(map(repr, count['pieces']))}" if count["pieces"] else ""
            print(f"  unknown     {count['ids']:,} ids in {count['texts']:,} texts of the {side}{pieces}")
        print(f"  unreadable  {file.unreadable:,}")
        for reason in file.reasons:
            print(f"    {reason}")
    if len(report.files) > 1:
        print(
            f"{len(report.files):,} files: {report.total('records'):,} records → {report.total('examples'):,} examples, "
            f"{report.total('unreadable'):,} unreadable"
        )
    return 0
