"""Answer one instruction with a trained model, or read instructions line by line."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.eval.decoding.config import DecodingConfig

EXAMPLE = 'flan-jax generate --model_dir runs/quickstart "Is this review good or bad? The food was awful."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("text", nargs="?", help="the instruction; without it, lines are read from standard input")
    parser.add_argument("--model_dir", required=True, help="a run's folder")
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    parser.add_argument("--max_tokens", type=int, default=0, help="longest answer; default: the run's target length")
    parser.add_argument(
        "--temperature",
        type=float,
        default=None,
        help="draw each token; below 1 the likely becomes likelier, 0 is greedy",
    )
    parser.add_argument("--top_k", type=int, default=None, help="draw from the K likeliest tokens only")
    parser.add_argument(
        "--top_p",
        type=float,
        default=None,
        help="draw from the likeliest tokens that have this share of the probability",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws; the same seed draws the same answers")
    parser.add_argument("--beams", type=int, default=1, help="search for the likeliest answer with so many beginnings")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the answer before this text; may be repeated"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Prints an answer a line."""
    from flan_jax.cli import gin_config
    from flan_jax.cli.console import run_config_file
    from flan_jax.experiments.generate import Answerer

    if arguments.max_tokens < 0:
        raise UserError(f"--max_tokens {arguments.max_tokens} must be at least 1.")
    decoding = decoding_of(arguments)
    run = gin_config.load([run_config_file(arguments.model_dir)], [f"run.model_dir={str(arguments.model_dir)!r}"])
    answerer = Answerer(run.config, step=arguments.step, max_tokens=arguments.max_tokens, decoding=decoding)
    if arguments.text is not None:
        print(answerer.answer(arguments.text))
        return 0
    interactive = sys.stdin.isatty()
    answered = 0
    while True:
        if interactive:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return 0
        if line.strip():
            print(answerer.answer(line.strip(), answered), flush=True)
            answered += 1


def decoding_of(arguments: argparse.Namespace) -> "DecodingConfig":
    """How to write, as the options say: drawn where one of drawing is given, else greedily or by beams.

    Raises:
        UserError: a value out of range, or drawing and beams together.
    """
    from flan_jax.eval.decoding.config import DecodingConfig

    given = {
        name: getattr(arguments, name)
        for name in ("temperature", "top_k", "top_p")
        if getattr(arguments, name) is not None
    }
    if given == {"temperature": 0}:
        given = {}
    if given and arguments.beams != 1:
        raise UserError(
            f"--beams searches for the likeliest answer, and --{next(iter(given))} draws one. Give one of them."
        )
    options: dict[str, Any] = {"stop": tuple(arguments.stop), **given}
    if given:
        options |= {"method": "sample", "seed": arguments.seed}
    elif arguments.beams != 1:
        options |= {"method": "beam", "beams": arguments.beams}
    try:
        return DecodingConfig(**options)
    except UserError as error:
        raise UserError(str(error).replace("DecodingConfig.", "--")) from None
