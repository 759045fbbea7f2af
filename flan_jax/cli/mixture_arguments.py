"""The arguments of every command that reads a mixture: where its data are, how a path is read, what of it is trained on."""

import argparse
import sys
from typing import TYPE_CHECKING

from flan_jax.cli.escapes import visible_line
from flan_jax.cli.paths import local_path

if TYPE_CHECKING:
    from flan_jax.data.instructions.reading_options import ReadingOptions
    from flan_jax.mixing.config import MixingConfig
    from flan_jax.mixing.mixture import Mixture

_PARTS = "tasks, clusters, nested mixtures or collections, with commas"


def add_mixture_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data_dir``, ``--source_dir``, ``--hold_out``, ``--templates``, how a path is read and what is trained on."""
    parser.add_argument("--data_dir", type=local_path, default="", help="folder that sources look below")
    parser.add_argument(
        "--source_dir",
        type=local_path,
        default="",
        help="folder of local copies of published data sets: TASK/train.jsonl",
    )
    parser.add_argument(
        "--hold_out",
        default="",
        metavar="NAMES",
        help="clusters or tasks, with commas, that are measured and not trained on; what is too near to them goes too",
    )
    parser.add_argument(
        "--templates",
        type=local_path,
        default="",
        metavar="FILE",
        help="a file of templates that take the place of the tasks' own",
    )
    add_reading_arguments(parser)
    _add_training_arguments(parser)


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``MixingConfig``, by which a run trains on its mixture otherwise than it declares."""
    group = parser.add_argument_group("training, otherwise than the mixture declares (as run.NAME)")
    group.add_argument(
        "--weights", default="", metavar="PART=RATE,...", help=f"rates of parts in the place of its own: {_PARTS}"
    )
    group.add_argument("--keep", default="", metavar="PARTS", help=f"train on nothing else: {_PARTS}")
    group.add_argument(
        "--leave_out", default="", metavar="PARTS", help="do not train on these, nor measure them instead"
    )
    group.add_argument("--modes", default="", metavar="MODES", help="prompt modes of every task, with commas")
    group.add_argument("--few_shot_share", type=float, metavar="SHARE", help="so much of zero-shot prompts few-shot")
    group.add_argument("--no_inversion", action="store_true", help="without inverted templates and tasks")
    group.add_argument("--max_templates", type=int, default=0, metavar="N", help="templates of each prompt; 0 for all")
    group.add_argument(
        "--rates", default="own", metavar="{own,proportional,equal}", help="where rates of tasks are from"
    )
    group.add_argument("--cap", type=int, metavar="N", help="the largest size that counts, where rates grow with size")
    group.add_argument("--temperature", type=float, metavar="T", help="flattens such rates; 1 keeps proportions")
    group.add_argument("--template_seed", type=int, metavar="N", help="decides templates; default: the run's seed")


def mixing_of(arguments: argparse.Namespace) -> "MixingConfig":
    """Collects what these arguments say of training.

    Raises:
        UserError: as ``MixingConfig``.
    """
    from flan_jax.mixing.config import MixingConfig, parse_weights
    from flan_jax.option_groups import group_of

    given = {**vars(arguments), "weights": parse_weights(arguments.weights), "inversion": not arguments.no_inversion}
    return group_of(MixingConfig, given)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--format``, ``--clean``, ``--no_clean`` and ``--opening``: how the instruction data of a path is read."""
    group = parser.add_argument_group("instruction data, where a path is given")
    group.add_argument("--format", default="auto", help="the records' format; default: told by the first of them")
    group.add_argument(
        "--clean",
        action="append",
        default=[],
        metavar="STEP",
        help="clean with this step too: markdown, opening, placeholders, empty, refused, duplicates, split; repeatable",
    )
    group.add_argument(
        "--no_clean",
        "--no-clean",
        action="append",
        default=[],
        metavar="STEP",
        help="leave out a step that is on by itself, or 'all' of them; repeatable",
    )
    group.add_argument(
        "--opening",
        default="fail",
        metavar="{fail,drop,keep}",
        help="what an assistant says before any user is an error (the default), left out, or kept",
    )


def reading_of(arguments: argparse.Namespace) -> "ReadingOptions":
    """Collects how these arguments say that instruction data is read.

    Raises:
        UserError: an unknown format, step or opening.
    """
    from flan_jax.data.instructions.reading_options import ReadingOptions

    return ReadingOptions(arguments.format, _steps(arguments.clean), _steps(arguments.no_clean), arguments.opening)


def _steps(given: list[str]) -> tuple[str, ...]:
    """Steps of several options, each maybe with commas."""
    return tuple(step.strip() for steps in given for step in steps.split(",") if step.strip())


def mixture_of(arguments: argparse.Namespace, name: str, *, outlined: bool = False, seed: int = 0) -> "Mixture":
    """Finds the mixture that these arguments choose; the folders are set for this process, and its notes said.

    Args:
        arguments: those of ``add_mixture_arguments``.
        name: of the mixture.
        outlined: only its rates are asked for, which do not take all of its files.
        seed: of the run, which chooses templates.
    """
    from flan_jax.experiments.mixture import check_folders, select_mixture, set_folders
    from flan_jax.experiments.options import parse_names

    check_folders(arguments.data_dir, arguments.source_dir)
    set_folders(arguments.data_dir, arguments.source_dir)
    mixture = select_mixture(
        name,
        hold_out=parse_names(arguments.hold_out),
        templates=arguments.templates,
        reading=reading_of(arguments),
        outlined=outlined,
        mixing=mixing_of(arguments),
        seed=seed,
    )
    for note in mixture.notes:
        print(visible_line(note), file=sys.stderr)
    return mixture
