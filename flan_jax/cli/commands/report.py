"""Write the page of one run, one page that sets several runs side by side, or the page of a study."""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.cli.paths import given_any_path, local_path
from flan_jax.cli.run_places import run_folder
from flan_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = "flan-jax report runs/first runs/second --output compare.html   or   flan-jax report studies/weights"
PORT = 8123
TRACES = ("config.gin", "manifest.json", "metrics.jsonl", "eval")
"""What a run leaves: a folder with none of it is another's, and no page is written into it."""
STUDY = "study.json"
"""What makes a folder that of a study."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "model_dir",
        nargs="+",
        type=given_any_path,
        help="folders or addresses of runs, or the folder of one study",
    )
    parser.add_argument(
        "--output",
        type=local_path,
        default="",
        help="file to write; default: report.html in the (first) folder, or at its address",
    )
    parser.add_argument("--json", action="store_true", help="print what the page shows as JSON, and write no page")
    parser.add_argument(
        "--runs",
        action="store_true",
        help="of a study: write the page of each of its runs too, which its own then links",
    )
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
    studies = [folder for folder in arguments.model_dir if (Path(folder) / STUDY).exists()]
    if studies:
        return _study(arguments, studies)
    if arguments.runs:
        raise UserError("--runs writes the pages of a study's runs, and no study is named. Leave it out.")
    folders = [_run_folder(folder, serve=arguments.serve) for folder in arguments.model_dir]
    if arguments.serve:
        return _serve(folders, PORT if arguments.port is None else arguments.port)
    if arguments.json:
        from flan_jax.report.document import report_document

        _print(report_document(folders))
        return 0
    first = arguments.model_dir[0]
    if not _is_address(first) or arguments.output:
        return _write(folders, Path(arguments.output or folders[0] / "report.html"))
    return _put(first, folders)


def _is_address(place: str) -> bool:
    return "://" in place


def _put(address: str, folders: list[Path]) -> int:
    """Writes the page to the address of a run's copy."""
    from flan_jax.experiments.run_folder.mirror import RunMirror
    from flan_jax.report.page import write_report

    mirror, page = RunMirror(address, folders[0]), folders[0] / "report.html"
    write_report(folders, page)
    mirror.put_page(page)
    print(f"{mirror.shown}/{page.name}")
    return 0


def _serve(folders: list[Path], port: int) -> int:
    from flan_jax.report.serve import HOST, make_server

    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}, which must be from 0 to 65535.")
    with make_server(folders, port) as server:
        print(f"http://{HOST}:{server.server_port}/", flush=True)
        print("Follows the run; Ctrl-C ends it.", file=sys.stderr, flush=True)
        server.serve_forever()
    return 0


def _run_folder(given: str, *, serve: bool) -> Path:
    if _is_address(given):
        if serve:
            raise UserError(
                "--serve follows the folders of runs on this machine, and no address. Leave one of them out."
            )
        return Path(run_folder(given, weights=False))
    folder = Path(given)
    if not folder.is_dir():
        raise UserError(f"There is no folder {given!r}. Give the MODEL_DIR of a run, or the folder of a study.")
    if not any((folder / name).exists() for name in TRACES):
        raise UserError(
            f"{given!r} holds none of {', '.join(TRACES)}, so it is not the folder of a run, and no {STUDY}, so it is not "
            "that of a study. Give the MODEL_DIR of a run, or the folder of a study."
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


def _study(arguments: argparse.Namespace, studies: list[str]) -> int:
    from flan_jax.cli.console import log
    from flan_jax.studies.page.document import study_document
    from flan_jax.studies.page.page import write_study_report

    if len(arguments.model_dir) > 1:
        raise UserError(
            f"{studies[0]!r} is the folder of a study, whose page stands alone. Name it alone; its runs stand side by side in it."
        )
    if arguments.serve:
        raise UserError(
            "--serve follows runs. Follow a study with `flan-jax sweep --status`, or serve the folder of one of its runs."
        )
    if arguments.runs and arguments.json:
        raise UserError("--runs writes pages and --json prints. Leave one of them out.")
    root = Path(studies[0])
    how: dict[str, Any] = {
        "prior_of": functools.partial(_prior_of, root),
        "progress": lambda words: log(f"fitting {words}"),
    }
    if arguments.json:
        _print(study_document(root, **how))
        return 0
    if arguments.runs:
        _write_runs(root)
    print(write_study_report(root, Path(arguments.output or root / "report.html"), **how))
    return 0


def _write_runs(root: Path) -> None:
    """Writes the page of every run that has something to show."""
    from flan_jax.cli.console import log
    from flan_jax.report.page import write_report
    from flan_jax.studies.study_dir import open_study

    study = open_study(root)
    folders = [study.model_dir(plan.name) for plan in study.plans]
    begun = [folder for folder in folders if any((folder / name).exists() for name in TRACES)]
    for folder in begun:
        write_report([folder], folder / "report.html")
    log(f"wrote the pages of {len(begun)} runs; {len(folders) - len(begun)} have nothing to show yet")


def _prior_of(root: Path, units: tuple[str, ...]) -> "np.ndarray | None":
    from flan_jax.cli.commands.propose import shares_of_study

    return shares_of_study(root, units)


def _print(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=1, allow_nan=False))
