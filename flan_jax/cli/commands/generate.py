"""Answer one instruction with a trained model, or read instructions line by line."""

import argparse
import sys

from flan_jax.errors import UserError

EXAMPLE = 'flan-jax generate --model_dir runs/quickstart "Is this review good or bad? The food was awful."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("text", nargs="?", help="the instruction; without it, lines are read from standard input")
    parser.add_argument("--model_dir", required=True, help="a run's folder")
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    parser.add_argument("--max_tokens", type=int, default=0, help="longest answer; default: the run's target length")


def execute(arguments: argparse.Namespace) -> int:
    """Prints an answer a line."""
    from flan_jax.cli import gin_config
    from flan_jax.cli.console import run_config_file
    from flan_jax.experiments.generate import Answerer

    if arguments.max_tokens < 0:
        raise UserError(f"--max_tokens {arguments.max_tokens} must be at least 1.")
    run = gin_config.load([run_config_file(arguments.model_dir)], [f"run.model_dir={str(arguments.model_dir)!r}"])
    answerer = Answerer(run.config, step=arguments.step, max_tokens=arguments.max_tokens)
    if arguments.text is not None:
        print(answerer.answer(arguments.text))
        return 0
    interactive = sys.stdin.isatty()
    while True:
        if interactive:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return 0
        if line.strip():
            print(answerer.answer(line.strip()), flush=True)
