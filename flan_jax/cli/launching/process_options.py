"""The options by which several processes train as one run, and what they must have in common."""

import argparse
import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import flan_jax
from flan_jax.errors import UserError

JOIN_S = 30.0


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--coordinator``, ``--process_id``, ``--num_processes`` and ``--join_timeout``."""
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="where process 0 is, for all processes alike; 'auto' asks Slurm, Kubernetes (JobSet) or a TPU's metadata, as is "
        "done by itself where the environment says that Slurm or MPI started several",
    )
    group.add_argument("--process_id", type=int, metavar="K", help="the number of this process, from 0")
    group.add_argument("--num_processes", type=int, metavar="N", help="the number of all processes")
    group.add_argument(
        "--join_timeout",
        type=float,
        default=JOIN_S,
        metavar="SECONDS",
        help=f"how long all may take to come (default {JOIN_S:g})",
    )


@contextlib.contextmanager
def joined_processes(arguments: argparse.Namespace, configuration: str) -> Iterator[bool]:
    """Joins this process with the others that the options name; yields whether it is the one that speaks.

    Args:
        arguments: of ``add_process_arguments``.
        configuration: gin's text of the run, the same in all of them.

    Raises:
        UserError: the options are incomplete, or the processes do not come together.
    """
    from flan_jax.cli.console import log
    from flan_jax.launch.distributed import joined
    from flan_jax.launch.membership import membership

    if not arguments.join_timeout > 0:
        raise UserError(f"--join_timeout is {arguments.join_timeout:g}; it must be a number of seconds above 0.")
    place = membership(
        arguments.coordinator, arguments.process_id, arguments.num_processes, timeout_s=arguments.join_timeout
    )
    if place is None:
        yield True
        return
    with joined(place, _identity(configuration), timeout_s=arguments.join_timeout, log=log):
        yield place.process_id == 0


def _identity(configuration: str) -> dict[str, str]:
    """Describes what decides the numbers of a run: versions, code, configuration."""
    from flan_jax.experiments.run_folder.run_files import versions
    from flan_jax.tasks.user_modules import imported_modules

    return {
        "version": "\n".join(f"{name} {version}" for name, version in versions().items()),
        "code": "\n".join(_files(Path(flan_jax.__file__).parent)),
        "list of imported modules": "\n".join(imported_modules()),
        "configuration": configuration,
    }


def _files(package: Path) -> list[str]:
    """Lists a package's modules, each with a digest of its text."""
    paths = sorted(package.rglob("*.py"))
    return [f"{path.relative_to(package)} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for path in paths]
