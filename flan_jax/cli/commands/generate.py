"""Answer one instruction with a trained model, or read instructions line by line."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import visible
from flan_jax.cli.instructions import add_template_options, instructions, template_form
from flan_jax.cli.paths import given_any_path, local_path, name_or_path
from flan_jax.cli.run_places import run_folder
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
        type=given_any_path,
        required=True,
        help="a run's folder or address; or a model of Hugging Face's: its folder, or hf:OWNER/NAME of the hub",
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
    parser.add_argument("--top_k", type=int, default=None, help="draw from the K likeliest tokens only; 0: from all")
    parser.add_argument(
        "--top_p",
        type=float,
        default=None,
        help="draw from the likeliest tokens that have this share of the probability",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws; the same seed draws the same answers")
    parser.add_argument(
        "--repetition_penalty",
        type=float,
        default=None,
        help="above 1 makes tokens that stand in the text already less likely; 1 changes nothing",
    )
    parser.add_argument(
        "--adapter",
        type=local_path,
        default="",
        metavar="FOLDER",
        help="adapters of PEFT that are added to the model in --model_dir",
    )
    parser.add_argument(
        "--beams", type=int, default=None, help="search for the likeliest answer with so many beginnings"
    )
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
        type=name_or_path,
        default="",
        metavar="NAME",
        help="... or in this one: 'plain', 'chatml', a tokenizer's folder or a *.jinja file",
    )
    add_template_options(parser)
    parser.add_argument(
        "--compare",
        type=given_any_path,
        nargs="+",
        default=[],
        metavar="MODEL",
        help="further models that answer the same, one below the other",
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the answer before this text; may be repeated"
    )


LONGEST = 2**20
"""Tokens of an answer: more are a slip that would take the memory of the machine."""


def execute(arguments: argparse.Namespace) -> int:
    """Prints an answer a line."""
    if arguments.max_tokens < 0:
        raise UserError(f"--max_tokens {arguments.max_tokens} must be at least 1.")
    if arguments.max_tokens > LONGEST:
        raise UserError(f"--max_tokens {arguments.max_tokens} must be at most {LONGEST:,}.")
    form = template_form(arguments)
    models = [arguments.model_dir, *arguments.compare]
    answerers = [_answerer(arguments, run_folder(model, step=arguments.step)) for model in models]
    named = [f"{model}: " if len(models) > 1 else "" for model in models]
    for index, instruction in enumerate(instructions(arguments, form)):
        for name, answerer in zip(named, answerers, strict=True):
            print(name, end="")
            _answer(answerer, instruction, index)
    return 0


def _answer(answerer: "Answerer", instruction: str, index: int) -> None:
    """Prints an answer: on a terminal while it is written, elsewhere in one line."""
    if not sys.stdout.isatty():
        print(answerer.answer(instruction, index), flush=True)
        return
    shown = ""
    for text in answerer.stream(instruction, index):
        print(visible(text[len(shown) :]), end="", flush=True)
        shown = text
    print()


def _answerer(arguments: argparse.Namespace, model_dir: str) -> "Answerer":
    from flan_jax.cli import gin_config
    from flan_jax.cli.console import check_run_folder, is_huggingface, log, log_not_imported, modules_named
    from flan_jax.data.chat.templates import load_chat_template
    from flan_jax.experiments.generate import Answerer
    from flan_jax.experiments.generation_config import FolderSettings, folder_settings
    from flan_jax.experiments.model_snapshot import vocabulary_place

    published = is_huggingface(model_dir)
    settings = FolderSettings()
    _check_adapter(arguments, model_dir, published)
    if published:
        from flan_jax.data.sources.hub_models import model_folder
        from flan_jax.experiments.weights.pretrained import run_of_folder

        if arguments.step is not None:
            raise UserError(f"{model_dir!r} is no run, so it has no --step {arguments.step}. Leave it out.")
        settings = folder_settings(model_folder(model_dir))
        decoding = decoding_of(arguments, settings.decoding)
        config = run_of_folder(
            model_dir,
            max_tokens=arguments.max_tokens,
            suggested=settings.max_tokens,
            adapter=arguments.adapter,
        )
        for line in settings.lines(_chosen(arguments)):
            log(line)
    else:
        decoding = decoding_of(arguments)
        check_run_folder(model_dir)
        bindings = [f"run.model_dir={str(model_dir)!r}"]
        with modules_named(model_dir):
            run = gin_config.load([], bindings, folder=model_dir)
        log_not_imported(run)
        config = run.config
    chat = None
    if arguments.chat or arguments.chat_template:
        chat = load_chat_template(
            arguments.chat_template or vocabulary_place(config.data.vocabulary, config.model_dir) or config.model_dir
        )
    return Answerer(
        config,
        step=arguments.step,
        max_tokens=arguments.max_tokens,
        decoding=decoding,
        chat=chat,
        ended=not (published and config.model.decoder_only),
    )


def _check_adapter(arguments: argparse.Namespace, model_dir: str, published: bool) -> None:
    """Raises a UserError where adapters stand in the place of a model, or beside one that takes none."""
    path = Path(model_dir).expanduser() / "adapter_config.json"
    if path.is_file() and not published:
        from flan_jax.models.huggingface.reader import read_json

        base = read_json(path).get("base_model_name_or_path") or "BASE"
        raise UserError(
            f"{model_dir!r} holds adapters of PEFT, which are nothing without their model. Name that as --model_dir "
            f"and this folder as --adapter: flan-jax generate --model_dir {base} --adapter {model_dir}"
        )
    if arguments.adapter and not published:
        raise UserError(
            f"--adapter {arguments.adapter!r} is added to a model of Hugging Face's, and {model_dir!r} is a run. "
            "Train or measure a run with it by INITIAL_ADAPTER, or export the run first (flan-jax export-hf)."
        )


_OF_DRAWING = ("temperature", "top_k", "top_p")


def _chosen(arguments: argparse.Namespace) -> list[str]:
    """The options of writing that were given."""
    names = (*_OF_DRAWING, "beams", "length_penalty", "repetition_penalty")
    chosen = [f"--{name}" for name in names if getattr(arguments, name) is not None]
    return [*chosen, *(["--max_tokens"] if arguments.max_tokens else [])]


def decoding_of(arguments: argparse.Namespace, folder: Mapping[str, Any] = MappingProxyType({})) -> "DecodingConfig":
    """Makes the decoding configuration that the options ask for: drawn where one of drawing is given, else greedily or by beams.

    Args:
        arguments: of the command line.
        folder: what the model's folder says, where no option says otherwise.

    Raises:
        UserError: a value out of range, or drawing and beams together.
    """
    from flan_jax.eval.decoding.config import DecodingConfig

    given = {name: getattr(arguments, name) for name in _OF_DRAWING if getattr(arguments, name) is not None}
    beams = arguments.beams
    options: dict[str, Any] = {**folder, "stop": (*folder.get("stop", ()), *arguments.stop)}
    if given or beams is not None:  # another way of writing, of which the folder's settings of its own way say nothing
        kept = _OF_DRAWING if given and given != {"temperature": 0} else ()
        options = {
            name: value
            for name, value in options.items()
            if name in ("stop", "min_length", "repetition_penalty", *(kept if folder.get("method") == "sample" else ()))
        }
    if given == {"temperature": 0}:
        given = {}
    if arguments.repetition_penalty is not None:
        options["repetition_penalty"] = arguments.repetition_penalty
    if arguments.length_penalty is not None and (beams if beams is not None else options.get("beams", 1)) < 2:
        raise UserError("--length_penalty compares the answers of a search. Give --beams too.")
    if given and beams not in (None, 1):
        raise UserError(
            f"--beams searches for the likeliest answer, and --{next(iter(given))} draws one. Give one of them."
        )
    if given:
        options |= {"method": "sample", **given}
    elif beams not in (None, 1):
        options |= {"method": "beam", "beams": beams}
    if arguments.length_penalty is not None:
        options["length_penalty"] = arguments.length_penalty
    if options.get("method") == "sample":
        options["seed"] = arguments.seed
    try:
        return DecodingConfig(**options)
    except UserError as error:
        raise UserError(str(error).replace("DecodingConfig.", "--")) from None
