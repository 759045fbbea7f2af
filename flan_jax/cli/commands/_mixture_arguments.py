"""The arguments of every command that reads a mixture: where its data are, what it holds out, its templates."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flan_jax.mixing.mixture import Mixture


def add_mixture_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data_dir``, ``--source_dir``, ``--hold_out`` and ``--templates``."""
    parser.add_argument("--data_dir", default="", help="folder that sources look below")
    parser.add_argument(
        "--source_dir", default="", help="folder of local copies of published data sets: TASK/train.jsonl"
    )
    parser.add_argument(
        "--hold_out",
        default="",
        metavar="NAMES",
        help="clusters or tasks, with commas, that are measured and not trained on; what is too near to them goes too",
    )
    parser.add_argument(
        "--templates", default="", metavar="FILE", help="a file of templates that take the place of the tasks' own"
    )


def mixture_of(arguments: argparse.Namespace, name: str, *, outlined: bool = False) -> "Mixture":
    """The mixture that these arguments choose; the folders are set for this process.

    Args:
        arguments: those of ``add_mixture_arguments``.
        name: of the mixture.
        outlined: only its rates are asked for, which do not take all of its files.
    """
    from flan_jax.experiments.config import names_of
    from flan_jax.experiments.setup import chosen_mixture, set_folders

    set_folders(arguments.data_dir, arguments.source_dir)
    return chosen_mixture(name, hold_out=names_of(arguments.hold_out), templates=arguments.templates, outlined=outlined)
