"""Write the page of one run, or one page that sets several runs side by side."""

import argparse
import json
import sys
from pathlib import Path

from flan_jax.cli.paths import given_path, local_path
from flan_jax.errors import UserError

EXAMPLE = "flan-jax report runs/first runs/second --output compare.html"
PORT = 8123
TRACES = ("config.gin", "manifest.json", "metrics.jsonl", "eval")
"""What a run leaves: a folder with none of it is another's, and no page is written into it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("model_dir", nargs="+", type=given_path, help="folders of runs")
    parser.add_argument(
        "--output", type=local_path, default="", help="file to write; default: report.html in the (first) folder"
    )
    parser.add_argument("--json", action="store_true", help="print what the page shows as JSON, and write no page")
    parser.add_argument(
        "--serve", action="store_true", help="show the page on 127.0.0.1 and follow the runs; Ctrl-C ends it"
    )
    parser.add_argument("--port", type=int, default=None, help=f"of --serve (default {PORT}); 0 for any that is free")


def execute(arguments: argparse.Namespace) -> int:
    """Writes the page and prints its path, prints its data, or serves it."""
    asked = [name for name in ("json", "serve", "output") if getattr(arguments, name)]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]} exclude each other: a report is printed, served or written.")
    if arguments.port is not None and not arguments.serve:
        raise UserError("--port is that of --serve, which is not asked for. Add --serve, or leave --port out.")
    folders = [_run_folder(folder) for folder in arguments.model_dir]
    if arguments.serve:
        return _serve(folders, PORT if arguments.port is None else arguments.port)
    if arguments.json:
        from flan_jax.report.document import report_document

        print(json.dumps(report_document(folders), indent=1, allow_nan=False))
        return 0
    return _write(folders, Path(arguments.output or folders[0] / "report.html"))


def _serve(folders: list[Path], port: int) -> int:
    from flan_jax.report.serve import HOST, make_server

    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}, which must be from 0 to 65535.")
    with make_server(folders, port) as server:
        print(f"http://{HOST}:{server.server_port}/", flush=True)
        print("Follows the run; Ctrl-C ends it.", file=sys.stderr, flush=True)
        server.serve_forever()
    return 0


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
