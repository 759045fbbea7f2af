"""The command that is launched, looked at before anything is submitted: a slip shows here, not after hours in a queue."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from flan_jax.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinRun

_FOLDERS = ("model_dir", "study_dir")


@dataclasses.dataclass(frozen=True)
class LaunchedCommand:
    """A command of flan-jax as it would be run.

    Attributes:
        words: of it, without ``flan-jax``.
        folder: of the run or the study that it works in; the working folder where it has none.
        run: the resolved run, of ``train``; None of other commands, and of one that is not looked into.
    """

    words: tuple[str, ...]
    folder: Path
    run: "GinRun | None" = None

    @property
    def name(self) -> str:
        """The command's name."""
        return self.words[0]


def look_into(words: list[str], *, unchecked: bool) -> LaunchedCommand:
    """Parses a command, and resolves the run that ``train`` describes.

    Args:
        words: what stands behind ``--``.
        unchecked: leave the gin files alone, which may be on the other machines only.

    Raises:
        UserError: there is none, it has another option or value than the command takes, or its run cannot be resolved.
    """
    from flan_jax.cli.gin_arguments import load_gin
    from flan_jax.cli.main import COMMANDS, build_parser, split_gin_bindings
    from flan_jax.tasks.user_modules import import_modules

    words = words[1:] if words[:1] == ["flan-jax"] else words
    if not words:
        raise UserError("There is no command to launch. Write it behind --, as in: flan-jax launch local -- train …")
    if words[0] == "launch":
        raise UserError("launch cannot launch itself. Name the command that does the work, such as train.")
    if words[0] not in COMMANDS:
        raise UserError(f"flan-jax has no command {words[0]!r} to launch.{did_you_mean(words[0], COMMANDS)}")
    rest, bindings = split_gin_bindings(words)
    parsed = build_parser().parse_args(rest)
    parsed.gin_bindings = bindings
    run = None
    if words[0] == "train" and not unchecked:
        import_modules(parsed.module_import)
        run = load_gin(parsed, addresses=True)
    return LaunchedCommand(tuple(words), _folder(parsed, bindings, run), run)


def _folder(parsed: argparse.Namespace, bindings: list[str], run: "GinRun | None") -> Path:
    """The folder that a launch is recorded in: the working folder where the run's is an address."""
    if run is not None and not run.address:
        return Path(run.config.model_dir).expanduser()
    named = {name.strip(): value.strip().strip("'\"") for name, _, value in (each.partition("=") for each in bindings)}
    given = [named.get("MODEL_DIR"), named.get("run.model_dir"), *(getattr(parsed, name, None) for name in _FOLDERS)]
    found = next((value for value in given if isinstance(value, str) and value and "://" not in value), "")
    return Path(found or ".").expanduser()
