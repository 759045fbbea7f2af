"""Write the page of one run, or one page that sets several runs side by side."""

import argparse
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


def execute(arguments: argparse.Namespace) -> int:
    """Writes the page and prints its path."""
    from flan_jax.report.page import write_report

    for folder in arguments.model_dir:
        if not Path(folder).is_dir():
            raise UserError(f"There is no run folder {folder!r}. Give the MODEL_DIR of a run.")
        if not any((Path(folder) / name).exists() for name in TRACES):
            raise UserError(
                f"{folder!r} holds none of {', '.join(TRACES)}, so it is not the folder of a run. Give the MODEL_DIR of a run."
            )
    output = Path(arguments.output or Path(arguments.model_dir[0]) / "report.html")
    try:
        write_report([Path(folder) for folder in arguments.model_dir], output)
    except OSError as error:
        raise UserError(
            f"--output {str(output)!r} cannot be written: {error.strerror}. Choose another file."
        ) from error
    print(output)
    return 0
