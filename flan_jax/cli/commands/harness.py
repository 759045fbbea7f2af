"""Measure a model with lm-evaluation-harness: its tasks and its command line, our model as its backend `flan_jax`."""

import argparse
from pathlib import Path

from flan_jax.cli.paths import any_path, local_path, name_or_path
from flan_jax.errors import UserError

EXAMPLE = "flan-jax harness --model_dir runs/quickstart -- --tasks my_task --include_path my_tasks --num_fewshot 5"
_OURS = ("--model", "-M")
_ROWS = ("--batch_size", "-b")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--model_dir",
        type=any_path,
        default="",
        help="a run's folder or address; or a model of Hugging Face's: its folder, or hf:OWNER/NAME of the hub. Without it the harness's "
        "own --model and --model_args say what is measured (--model flan_jax --model_args path=FOLDER)",
    )
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    parser.add_argument(
        "--adapter",
        type=local_path,
        default="",
        metavar="FOLDER",
        help="adapters of PEFT that are added to the model in --model_dir",
    )
    parser.add_argument(
        "--chat_template",
        type=name_or_path,
        default="",
        metavar="NAME",
        help="of the harness's --apply_chat_template, in place of the one beside the tokenizer: 'plain', 'chatml', a "
        "tokenizer's folder or a *.jinja file",
    )
    parser.add_argument(
        "--end_of_input",
        action="store_true",
        help="behind a decoder's prompt stands what ended inputs in its training here, as in `flan-jax eval`",
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="-- ARGUMENT",
        help="of lm-eval, such as --tasks, --num_fewshot, --limit, --apply_chat_template, --use_cache; its --batch_size is "
        "`auto` where it is not given",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Calls the harness, and returns its exit code."""
    from flan_jax.cli.lm_eval import call

    return call(command_line(arguments))


def command_line(arguments: argparse.Namespace) -> list[str]:
    """Writes the harness's command line.

    Raises:
        UserError: a model is named twice, or options of one where none is named here.
    """
    given = list(arguments.arguments)
    given = given[1:] if given[:1] == ["--"] else given
    own = {
        name: value
        for name in ("step", "adapter", "chat_template", "end_of_input")
        if (value := getattr(arguments, name)) not in (None, "", False)
    }
    if not arguments.model_dir:
        if own:
            raise UserError(f"--{next(iter(own))} is of the model in --model_dir. Name that too.")
        return given
    named = next((word for word in given if word.partition("=")[0] in _OURS), None)
    if named is not None:
        raise UserError(f"--model_dir names the model, and {named} names one to the harness. Give one of them.")
    path = arguments.model_dir
    own = {"path": path if path.startswith("hf:") or "://" in path else str(Path(path).expanduser().absolute()), **own}
    for name, value in own.items():
        if "," in str(value):
            raise UserError(
                f"--{'model_dir' if name == 'path' else name} {value!r} has a comma, which the harness takes for the next argument. Rename it."
            )
    given = given[1:] if given[:1] == ["run"] else given
    rows = [] if any(word.partition("=")[0] in _ROWS for word in given) else ["--batch_size", "auto"]
    model_args = ",".join(f"{name}={value}" for name, value in own.items())
    return ["run", "--model", "flan_jax", "--model_args", model_args, *rows, *given]
