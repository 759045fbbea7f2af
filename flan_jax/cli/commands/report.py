"""Write the page of one run, or one page that sets several runs side by side."""

import argparse
import json
from pathlib import Path

from flan_jax.cli.paths import given_path, local_path
from flan_jax.errors import UserError

EXAMPLE = "flan-jax report runs/first runs/second --output compare.html"
TRACES = ("config.gin", "manifest.json", "metrics.jsonl", "eval")
"""What a run leaves: a folder with none of it is another's, and no page is written into it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("model_dir", nargs="+", type=given_path, help="folders of runs")
    parser.add_argument(
        "--output", type=local_path, default="", help="file to write; default: report.html in the (first) folder"
    )
    parser.add_argument("--json", action="store_true", help="print what the page shows as JSON, and write no page")


def execute(arguments: argparse.Namespace) -> int:
    """Writes the page and prints its path, or prints its data."""
    folders = [_run_folder(folder) for folder in arguments.model_dir]
    if arguments.json:
        if arguments.output:
            raise UserError("--json prints and writes no page, so --output says nothing. Leave one of them out.")
        from flan_jax.report.document import report_document

        print(json.dumps(report_document(folders), indent=1, allow_nan=False))
        return 0
    return _write(folders, Path(arguments.output or folders[0] / "report.html"))


def _run_folder(given: str) -> Path:
    folder = Path(given)
    if not folder.is_dir():
        raise UserError(f"There is no run folder {given!r}. Give the MODEL_DIR of a run.")
    if not any((folder / name).exists() for name in TRACES):
        raise UserError(
            f"{given!r} holds none of {', '.join(TRACES)}, so it is not the folder of a run. Give the MODEL_DIR of a run."
        )
    return folder


def _write(folders: list[Path], output: Path) -> int:
    from flan_jax.report.page import write_report

    try:
        write_report(folders, output)
    except OSError as error:
        raise UserError(
            f"--output {str(output)!r} cannot be written: {error.strerror}. Choose another file."
        ) from error
    print(output)
    return 0
