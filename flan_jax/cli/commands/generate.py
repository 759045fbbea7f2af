"""Answer one instruction with a trained model, or read instructions line by line."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import visible
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.eval.decoding.config import DecodingConfig
    from flan_jax.experiments.generate import Answerer

EXAMPLE = 'flan-jax generate --model_dir runs/quickstart "Is this review good or bad? The food was awful."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("text", nargs="?", help="the instruction; without it, lines are read from standard input")
    parser.add_argument(
        "--model_dir",
        required=True,
        help="a run's folder; or a model of Hugging Face's: its folder, or hf:OWNER/NAME of the hub",
    )
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    parser.add_argument(
        "--max_tokens",
        type=int,
        default=0,
        help="longest answer; default: the run's target length, or 256",
    )
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
        "--length_penalty",
        type=float,
        default=None,
        help="of --beams: above 0 favours long answers, below it short ones; default 1",
    )
    parser.add_argument(
        "--chat",
        action="store_true",
        help="the instruction is a user's turn in the chat template of the model's folder",
    )
    parser.add_argument(
        "--chat_template",
        default="",
        metavar="NAME",
        help="... or in this one: 'plain', 'chatml', a tokenizer's folder or a *.jinja file",
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the answer before this text; may be repeated"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Prints an answer a line."""
    if arguments.max_tokens < 0:
        raise UserError(f"--max_tokens {arguments.max_tokens} must be at least 1.")
    decoding = decoding_of(arguments)
    answerer = _answerer(arguments, decoding)
    if arguments.text is not None:
        print(_shown(answerer.answer(arguments.text)))
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
            print(_shown(answerer.answer(line.rstrip(), answered)), flush=True)
            answered += 1


def _shown(answer: str) -> str:
    """The answer as it is for a program, and as it can be shown on a terminal."""
    return visible(answer) if sys.stdout.isatty() else answer


def _answerer(arguments: argparse.Namespace, decoding: "DecodingConfig") -> "Answerer":
    from flan_jax.cli import gin_config
    from flan_jax.cli.console import is_huggingface, run_config_file
    from flan_jax.data.chat_templates import load_chat_template
    from flan_jax.experiments.generate import Answerer
    from flan_jax.experiments.kept_model import vocabulary_place

    published = is_huggingface(arguments.model_dir)
    if published:
        from flan_jax.experiments.pretrained import run_of_folder

        if arguments.step is not None:
            raise UserError(f"{arguments.model_dir!r} is no run, so it has no --step {arguments.step}. Leave it out.")
        config = run_of_folder(arguments.model_dir, max_tokens=arguments.max_tokens)
    else:
        bindings = [f"run.model_dir={str(arguments.model_dir)!r}"]
        config = gin_config.load([run_config_file(arguments.model_dir)], bindings).config
    chat = None
    if arguments.chat or arguments.chat_template:
        chat = load_chat_template(
            arguments.chat_template or vocabulary_place(config.vocabulary, config.model_dir) or config.model_dir
        )
    return Answerer(
        config,
        step=arguments.step,
        max_tokens=arguments.max_tokens,
        decoding=decoding,
        chat=chat,
        ended=not (published and config.model.decoder_only),
    )


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
    if arguments.length_penalty is not None and arguments.beams < 2:
        raise UserError("--length_penalty compares the answers of a search. Give --beams too.")
    if given and arguments.beams != 1:
        raise UserError(
            f"--beams searches for the likeliest answer, and --{next(iter(given))} draws one. Give one of them."
        )
    options: dict[str, Any] = {"stop": tuple(arguments.stop), **given}
    if given:
        options |= {"method": "sample", "seed": arguments.seed}
    elif arguments.beams != 1:
        options |= {"method": "beam", "beams": arguments.beams}
        if arguments.length_penalty is not None:
            options["length_penalty"] = arguments.length_penalty
    try:
        return DecodingConfig(**options)
    except UserError as error:
        raise UserError(str(error).replace("DecodingConfig.", "--")) from None
