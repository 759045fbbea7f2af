"""The gin options that several commands share."""

import argparse
from typing import TYPE_CHECKING

from flan_jax.cli.paths import given_path, local_paths
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinRun


def add_gin_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds ``--gin_file``, ``--gin_search_paths``; ``--gin.NAME=VALUE`` is taken apart in main."""
    parser.add_argument(
        "--gin_file",
        type=given_path,
        action="append",
        default=[],
        metavar="FILE",
        help="a gin file, by path or by its name among the shipped ones (runs/finetune.gin); repeatable, later ones win",
    )
    parser.add_argument(
        "--gin_search_paths",
        type=local_paths,
        default="",
        metavar="DIR,DIR",
        help="more folders to look for gin files in",
    )
    group = parser.add_argument_group("gin")
    group.add_argument(
        "--gin.NAME", dest="_gin_help", metavar="VALUE", help="set a macro or a parameter, e.g. --gin.TRAIN_STEPS=100"
    )
    parser.set_defaults(gin_required=required)


def load_gin(
    arguments: argparse.Namespace,
    *,
    default_files: tuple[str, ...] = (),
    extra: tuple[str, ...] = (),
    folder: str = "",
    several: bool = False,
    addresses: bool = False,
) -> "GinRun":
    """Resolves the run that the command line describes, in a run's ``folder`` or of files; ``extra`` bindings win.

    ``several`` says that the command joins the processes that a launcher started, ``addresses`` that it takes an address as
    MODEL_DIR.
    """
    from flan_jax.cli import gin_config
    from flan_jax.launch.processes import check_one_process

    if not several:
        check_one_process()
    files = [*default_files, *arguments.gin_file]
    if not files and not folder:
        raise UserError("No --gin_file given. Try --gin_file models/t5_mini.gin --gin_file runs/finetune.gin.")
    paths = [path for path in arguments.gin_search_paths.split(",") if path] + gin_config.environment_search_paths()
    return gin_config.load(files, [*arguments.gin_bindings, *extra], paths, folder=folder, addresses=addresses)
