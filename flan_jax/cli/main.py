"""``flan-jax``: one command a job. Commands import what they need when they run, so --help is instant."""

import argparse
import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from flan_jax import __version__, files, signals
from flan_jax.cli.escapes import visible
from flan_jax.errors import UserError, did_you_mean
from flan_jax.launch.distributed import is_joined
from flan_jax.tasks.user_modules import import_modules
from flan_jax.typed import Seed, check

DONE, OUR_FAULT, WRONG_INPUT = 0, 1, 2
"""Exit codes; those of a stop by SIGTERM or Ctrl-C are decided in ``flan_jax.signals``."""

_LEFT = {
    "prepare": "the splits finished before stay in the store; run the same command again to go on",
    "train": "nothing was saved yet; the same command begins anew",
    "quickstart": "nothing was saved yet; the same command begins anew",
    "sweep": "no run was begun yet; run the same command again",
    "eval": "what was answered so far is kept; the same command goes on with it",
    "launch": "what was submitted goes on; the scheduler's own command ends it",
    "doremi": "what was trained stays; run the same command again to go on",
    "compare": "models that were measured stay so; run the same command again to go on",
}
_GARBAGE = (50_000, 20, 100)
"""Thresholds of Python's collector: imports and tracing make a million objects that live on, and to look them through
as often as Python would is a tenth of their time."""
_NOTHING_LEFT = "nothing half-written is left; run the same command again"
"""What a command that was stopped leaves where no checkpoint stands."""

COMMANDS = {
    "quickstart": "the whole job on the embedded world: prepare, train, measure, report",
    "tasks": "what is registered: tasks, modes, templates, sizes, mixtures",
    "data": "what instruction data holds: format, counts, what is left out",
    "inspect": "examples of a task exactly as the model sees them",
    "rates": "the effective rates of a mixture",
    "audit": "whether a mixture trains on what it holds out",
    "prepare": "tokenise and index each task of a mixture once",
    "train": "train; the same command again resumes",
    "launch": "start a command on many processes: here, on Slurm, Kubernetes, TPUs or a cloud",
    "doremi": "learn mixture weights by DoReMi: reference, proxy and final run in one go",
    "plan": "what a run needs of chips that are not here: bytes, time, cost, whether it fits",
    "sweep": "run a study: many runs that one file declares",
    "eval": "measure a checkpoint on the suites of a mixture",
    "propose": "fit laws to a study's runs and propose mixture weights",
    "power": "how many examples show a difference between two models",
    "compare": "measure several models on the same prompts, with paired intervals and tests",
    "generate": "answer an instruction with a trained model",
    "harness": "measure a model with lm-evaluation-harness",
    "import-hf": "make a Hugging Face folder one that runs start from",
    "export-hf": "write a run's weights as a Hugging Face folder, with a model card",
    "report": "write the page of one run, of several side by side, or of a study",
}

_ROOMS = {"launch": "flan_jax.cli.launching.command", "doremi": "flan_jax.cli.doremi.command"}
"""Commands that have a room of their own; any other is a module of commands/."""


class _Parser(argparse.ArgumentParser):
    """argparse with one clear sentence in place of a usage dump."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{self.prog}: {message}. `{self.prog} --help` shows the options.")


def split_gin_bindings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates ``--gin.NAME=VALUE`` (or ``--gin.NAME VALUE``) from the other arguments.

    >>> split_gin_bindings(["train", "--gin.TRAIN_STEPS=3", "--gin_file", "a.gin"])
    (['train', '--gin_file', 'a.gin'], ['TRAIN_STEPS=3'])
    """
    rest: list[str] = []
    bindings: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("--gin."):
            rest.append(argument)
            continue
        binding = argument.removeprefix("--gin.")
        if "=" not in binding:
            value = next(remaining, None)
            if value is None or value.startswith("--"):
                raise UserError(f"{argument} has no value. Write {argument}=VALUE.")
            binding = f"{binding}={value}"
        bindings.append(binding)
    return rest, bindings


def _split_launched(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Separates the command that ``launch`` starts: what stands behind ``--`` is that command's own, bindings included."""
    if arguments[:1] != ["launch"] or "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of every command."""
    parser = _Parser(prog="flan-jax", description="FLAN-style instruction tuning in JAX.")
    parser.add_argument("--version", action="version", version=f"flan-jax {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, summary in COMMANDS.items():
        module = importlib.import_module(_ROOMS.get(name) or f"flan_jax.cli.commands.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=f"Example: {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument(
            "--module_import",
            action="append",
            default=[],
            metavar="MODULE",
            help="import this module first: it may register tasks, mixtures and vocabularies; repeatable",
        )
        command.set_defaults(execute=module.execute)
    return parser


class _Warnings(logging.Handler):
    """Prints warnings to standard error as they are worded, each of them once.

    Without it the first library that logs decides how they look, and what is read for three prompt
    modes is warned of three times.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = visible(self.format(record))
        if text not in self._said:
            self._said.add(text)
            print(text, file=sys.stderr)


def script() -> NoReturn:
    """Runs one command as a process of its own, and ends it with the command's exit code.

    Where it was one of several processes and failed, its way out would wait for the others, which are gone. After a stop the devices may still compute what nobody waits for. Python's own way out would take down what they
    compute with, and that crashes now and then, with another exit code; so the process then ends at once. All that was
    to be written is written by then.
    """
    gc.set_threshold(*_GARBAGE)
    code = main()
    if code == signals.TEMPORARY_FAILURE or code > 128 or is_joined():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(_Warnings())
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments, launched = _split_launched(arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    left = _NOTHING_LEFT
    try:
        rest, bindings = split_gin_bindings(arguments)
        if rest and not rest[0].startswith("-") and rest[0] not in COMMANDS:
            hint = did_you_mean(rest[0], COMMANDS) or f" Commands: {', '.join(COMMANDS)}."
            raise UserError(f"flan-jax has no command {rest[0]!r}.{hint}")
        parser = build_parser()
        parsed = parser.parse_args(rest)
        if parsed.command is None:
            parser.print_help()
            return DONE
        if bindings and not hasattr(parsed, "gin_file"):
            raise UserError(f"flan-jax {parsed.command} takes no --gin.{bindings[0]}.")
        parsed.gin_bindings = bindings
        parsed.launched = launched
        if getattr(parsed, "seed", None) is not None:
            check(parsed.seed, Seed, "--seed")
        left = _LEFT.get(parsed.command, left)
        with signals.handled(left):
            import_modules(parsed.module_import)
            return parsed.execute(parsed)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {visible(error)}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt as stop:
        words, code = signals.last_words(getattr(stop, "signum", signal.SIGINT), left)
        print(words, file=sys.stderr)
        return code
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        return DONE
    except Exception as error:
        refused = files.refused(error)
        if refused is not None:
            if debug:
                traceback.print_exc()
            print(f"error: {visible(refused)}", file=sys.stderr)
            return WRONG_INPUT
        traceback.print_exc()
        print("error: this is a fault of flan_jax, not of your input; the lines above tell where", file=sys.stderr)
        return OUR_FAULT


if __name__ == "__main__":
    script()
