"""Instructions of ``flan-jax generate``: a text, lines of standard input, or a task's template filled by hand."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import visible
from flan_jax.cli.paths import name_or_path
from flan_jax.errors import UserError, unknown

if TYPE_CHECKING:
    from flan_jax.tasks.prompt_form import PromptForm


def add_template_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that fill a task's template."""
    parser.add_argument(
        "--task",
        type=name_or_path,
        default="",
        metavar="NAME",
        help="fill a template of this task in the place of an instruction",
    )
    parser.add_argument(
        "--slot",
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="of --task: a slot's text; repeatable. Without any, slots are asked for, or read as a JSON object a line",
    )
    parser.add_argument("--mode", default="", help="of --task: the prompt mode, such as zs_noopt (default zs_opt)")
    parser.add_argument("--template", type=int, metavar="I", help="of --task: this template; default: its first")


def instructions(arguments: argparse.Namespace, form: "PromptForm | None") -> Iterator[str]:
    """Yields what is asked: the one of the command line, or those of standard input."""
    if form is not None and arguments.slot:
        yield _filled(form, _slots(arguments.slot))
    elif arguments.text is not None:
        yield arguments.text
    elif form is None:
        yield from (line for line in _lines("> ") if line.strip())
    else:
        yield from _forms(form)


def _forms(form: "PromptForm") -> Iterator[str]:
    """Yields filled templates: slots are asked for on a terminal, elsewhere a JSON object a line holds them."""
    if sys.stdin.isatty():
        while True:
            values = {}
            for name in form.slots:
                line = next(_lines(f"{name}> "), None)
                if line is None:
                    return
                values[name] = line
            yield _filled(form, values)
    for number, line in enumerate(_lines(""), 1):
        if line.strip():
            try:
                values = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"Standard input, line {number} is no JSON object ({error}). Write the slots of --task."
                ) from error
            if not isinstance(values, dict):
                raise UserError(f"Standard input, line {number} is no JSON object. Write the slots of --task.")
            yield _filled(form, {name: _slot_text(value) for name, value in values.items()})


def _slot_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _filled(form: "PromptForm", values: Mapping[str, str]) -> str:
    prompt = form.prompt(values)
    if sys.stdout.isatty():
        print(visible(prompt), end="\n\n")
    return prompt


def _lines(prompt: str) -> Iterator[str]:
    """Yields lines of standard input without their ends, asked for on a terminal."""
    while True:
        if prompt and sys.stdin.isatty():
            print(prompt, end="", flush=True)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as error:
            raise UserError("Standard input is not UTF-8 text. Give instructions as text, a line each.") from error
        if not line:
            return
        yield line.rstrip()


def template_form(arguments: argparse.Namespace) -> "PromptForm | None":
    """The template that is filled in the place of an instruction; ``None`` without ``--task``."""
    if not arguments.task:
        for name in ("slot", "mode", "template"):
            if getattr(arguments, name) not in ([], "", None):
                raise UserError(f"--{name} is of a task's template, and none is named. Name one (--task).")
        return None
    import mixtures  # noqa: F401  (registers the tasks)
    from flan_jax.tasks.catalog import TASKS
    from flan_jax.tasks.prompt_form import PromptForm
    from flan_jax.tasks.spec import Prompted, PromptMode

    if arguments.text is not None:
        raise UserError(
            f"--task {arguments.task} fills a template, and a text is given too. Give its slots (--slot NAME=TEXT)."
        )
    modes = [str(mode) for mode in PromptMode]
    if arguments.mode and arguments.mode not in modes:
        raise unknown("prompt mode", arguments.mode, modes)
    task = Prompted(TASKS.get(arguments.task), PromptMode(arguments.mode or "zs_opt"))
    template = task.scored_templates[0] if arguments.template is None else arguments.template
    return PromptForm(task, template)


def _slots(given: list[str]) -> dict[str, str]:
    values = {}
    for text in given:
        name, mark, value = text.partition("=")
        if not mark:
            raise UserError(f"--slot {text!r} has no value. Write --slot NAME=TEXT.")
        values[name.strip()] = value
    return values
