"""Show examples of a task exactly as the model sees them: input, target, options, tokens, template.

On a terminal the template's words, each slot, options, solved examples and the target have colours.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from flan_jax.cli.ansi import CHOICES
from flan_jax.cli.escapes import json_text, visible_line
from flan_jax.cli.mixture_arguments import add_mixture_arguments, mixture_of
from flan_jax.cli.paths import given_name_or_path, name_or_path
from flan_jax.errors import UserError, unknown

if TYPE_CHECKING:
    from flan_jax.cli.example_view import ExampleView, ViewOptions
    from flan_jax.data.chat.prompts import ChatPrompts
    from flan_jax.data.tokenizers.protocol import Vocabulary
    from flan_jax.mixing.mixture import Mixture
    from flan_jax.tasks.spec import Prompted
    from flan_jax.tasks.task import Task

EXAMPLE = "flan-jax inspect review_sentiment --mode fs_opt --shots 2 -n 3   or   flan-jax inspect mini --tokens"
_EXEMPLAR_TEMPLATES = ("same", "mixed", "matching")
_STYLES = ("flan2021", "flan2022")
_KEPT_FOR_LINE = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "name",
        type=given_name_or_path,
        help="a task, or a mixture (its first tasks are shown, as the mixture has them)",
    )
    parser.add_argument("--task", default="", metavar="NAME", help="of a mixture, this task only, as `rates` names it")
    parser.add_argument(
        "--mode",
        default="",
        help="a prompt mode, such as zs_noopt; default: zs_opt, or the mixture's own for each task",
    )
    parser.add_argument("--template", type=int, metavar="I", help="this template for every example; default: as drawn")
    parser.add_argument("--split", default="", help="default: train, or the first that is there")
    parser.add_argument("-n", type=int, default=2, help="examples to show (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="decides which example gets which template")
    parser.add_argument(
        "--style", default="", metavar="{flan2021,flan2022}", help="how options and solved examples look"
    )
    parser.add_argument("--shots", type=int, metavar="K", help="solved examples in the few-shot modes, at most")
    parser.add_argument(
        "--exemplar_templates",
        default="",
        metavar="{same,mixed,matching}",
        help="solved examples in the query's template, in templates of their own, or those that happen to have the query's",
    )
    parser.add_argument(
        "--vocabulary",
        type=name_or_path,
        default="",
        help="a registered name, 'bytes', a tokenizer's folder or file; default: the mixture's own",
    )
    parser.add_argument(
        "--chat_template",
        type=name_or_path,
        nargs="?",
        const=True,
        default=False,
        metavar="NAME",
        help="show tokens inside this chat template, or without a name inside that of the tokenizer's folder",
    )
    parser.add_argument(
        "--tokens", action="store_true", help="show every piece, unknown ones and lost line ends marked"
    )
    parser.add_argument(
        "--inputs",
        type=int,
        default=512,
        help="length of inputs in tokens, which solved examples must fit (default 512)",
    )
    parser.add_argument(
        "--color", choices=CHOICES, default="auto", help="default: on a terminal, unless NO_COLOR is set"
    )
    add_mixture_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def execute(arguments: argparse.Namespace) -> int:
    """Prints examples."""
    from flan_jax.cli.ansi import HEADING, Palette, wants_color
    from flan_jax.cli.example_view import ViewOptions
    from flan_jax.tasks.spec import PromptMode

    for option, value, choices in (
        ("prompt mode", arguments.mode, [str(mode) for mode in PromptMode]),
        ("prompt style", arguments.style, _STYLES),
        ("choice of exemplar templates", arguments.exemplar_templates, _EXEMPLAR_TEMPLATES),
    ):
        if value and value not in choices:
            raise unknown(option, value, choices)
    for option, number, least in (("-n", arguments.n, 1), ("--inputs", arguments.inputs, 2)):
        if number < least:
            raise UserError(f"{option} {number} must be at least {least}.")
    mixture = mixture_of(arguments, arguments.name, seed=arguments.seed)
    tasks = _chosen(mixture, arguments)
    vocabulary = _vocabulary(mixture, tasks, arguments)
    chat = _chat(mixture, vocabulary, arguments)
    palette = Palette(not arguments.json and wants_color(arguments.color))
    each = 1 if len(tasks) > 1 else arguments.n
    for task in tasks[: arguments.n]:
        how = ViewOptions(
            _split(task, arguments.split),
            palette,
            arguments.seed,
            arguments.template,
            vocabulary,
            arguments.inputs,
            arguments.tokens,
            chat,
        )
        shown = read = 0
        left_out = 0
        for example in _examples(task, how):
            read += 1
            if example is None:
                left_out += 1
                continue
            if arguments.json:
                row = {"task": task.name, "split": how.split, **example.row, "left_out": left_out}
                print(json_text(row))
            else:
                title = f"── {task.name} · {how.split} {example.heading} · cluster {task.cluster}"
                print(palette(HEADING, title))
                for label, text in example.lines:
                    print(f"{visible_line(label) + ':' if label else '':<8} {_indent(text)}")
                print()
            shown += 1
            if shown == each:
                break
        if left_out:
            print(
                f"{task.name}: {left_out:,} of the first {read:,} records of its split {how.split!r} are no examples of it "
                "and are left out.\n",
                file=sys.stderr if arguments.json else sys.stdout,
            )
        elif not shown:
            raise UserError(f"Task {task.name!r} has no record in its split {how.split!r}.")
    if not arguments.json:
        if vocabulary is None and any(task.mode is not None and task.mode.few_shot for task in tasks):
            print("Solved examples are held to a length where a vocabulary is named (--vocabulary).")
        if palette.on:
            print(palette.legend())
        elif arguments.tokens:
            print(
                "│ stands between two pieces, ⟦ ⟧ around what the vocabulary cannot spell, ⏎ where it drops a line end."
            )
    return 0


def _names(task: "Task") -> tuple[str, ...]:
    """Returns what a task goes by: its own name, and its spec's."""
    return tuple(dict.fromkeys((task.name, task.spec_name)))


def _chosen(mixture: "Mixture", arguments: argparse.Namespace) -> "list[Task]":
    """The mixture's tasks with the mode, style and few-shot asked for; a task twice only if the mixture has it twice."""
    from flan_jax.tasks.spec import PromptMode

    tasks: list[Task] = list(mixture.train_tasks)
    if arguments.task:
        known = {name for task in mixture.all_tasks for name in _names(task)}
        if arguments.task not in known:
            raise unknown(f"task in mixture {mixture.name!r}", arguments.task, known)
        tasks = [task for task in mixture.all_tasks if arguments.task in _names(task)]
    if arguments.mode:
        mode = PromptMode(arguments.mode)
        once: dict[str, Task] = {}
        for task in tasks:  # two modes of one task are one task here
            once.setdefault(task.spec_name, task)
        having = [task for task in once.values() if task.spec is None or mode in task.spec.modes]
        if not having:
            spec = next(task.spec for task in once.values() if task.spec is not None)
            whose = f"Task {spec.name!r}" if len(once) == 1 else f"No task of {mixture.name!r}"
            raise UserError(
                f"{whose} has {'no' if len(once) == 1 else 'the'} mode {str(mode)!r}."
                + (f" It has: {', '.join(spec.modes)}." if len(once) == 1 else "")
            )
        if len(having) < len(once):
            print(
                f"{len(once) - len(having)} of {len(once)} tasks have no mode {str(mode)!r} and are not shown.",
                file=sys.stderr,
            )
        # Another mode may have other templates, so a choice among them does not carry over.
        tasks = _each_prompted(
            having,
            lambda task: dataclasses.replace(
                task, mode=mode, template_ids=task.template_ids if mode.reasons == task.mode.reasons else None
            ),
        )
    result = _each_prompted(tasks, lambda task: _adapted(task, arguments))
    shots = arguments.shots is not None or arguments.exemplar_templates
    if shots and not any(task.mode is not None and task.mode.few_shot for task in result):
        raise UserError(
            "--shots and --exemplar_templates belong to a mode with solved examples. Choose one, such as --mode fs_opt."
        )
    return result


def _each_prompted(tasks: "Sequence[Task]", change: "Callable[[Prompted], Prompted]") -> "list[Task]":
    """The tasks, with what has templates of ours changed."""
    from flan_jax.tasks.task import as_prompted

    return [task if (own := as_prompted(task)) is None else change(own) for task in tasks]


def _adapted(task: "Prompted", arguments: argparse.Namespace) -> "Prompted":
    from flan_jax.tasks.style import FLAN_2021, FLAN_2022

    if arguments.style:
        task = dataclasses.replace(task, style={"flan2021": FLAN_2021, "flan2022": FLAN_2022}[arguments.style])
    few_shot = task.few_shot
    if arguments.shots is not None:
        few_shot = dataclasses.replace(few_shot, shots=arguments.shots)
    if arguments.exemplar_templates:
        few_shot = dataclasses.replace(few_shot, templates=arguments.exemplar_templates)
    if arguments.template is not None and not 0 <= arguments.template < len(task.templates):
        raise UserError(
            f"Task {task.spec.name!r} has the templates 0 to {len(task.templates) - 1} in the mode {str(task.mode)!r}, "
            f"and no template {arguments.template}."
        )
    return dataclasses.replace(task, few_shot=few_shot)


def _split(task: "Task", named: str) -> str:
    if not named:
        return "train" if "train" in task.splits else task.splits[0]
    if named not in task.splits:
        raise unknown(f"split of task {task.name!r}", named, task.splits)
    return named


def _vocabulary(mixture: "Mixture", tasks: "list[Task]", arguments: argparse.Namespace) -> "Vocabulary | None":
    from flan_jax.experiments.data import resolve_vocabulary

    theirs = any(task.tokenized_elsewhere for task in mixture.all_tasks)
    if arguments.vocabulary or mixture.vocabulary or theirs:
        return resolve_vocabulary(arguments.vocabulary, mixture)
    if arguments.tokens:
        raise UserError(
            "--tokens needs a vocabulary. Name one with --vocabulary: 'bytes', or a tokenizer's folder or file."
        )
    foreign = next((task for task in tasks if task.mode is None), None)
    if foreign is not None:
        raise UserError(
            f"Task {foreign.name!r} is a {type(foreign).__name__}, which is shown from its tokens. "
            "Name a vocabulary with --vocabulary: 'bytes', or a tokenizer's folder or file."
        )
    return None


def _chat(mixture: "Mixture", vocabulary: "Vocabulary | None", arguments: argparse.Namespace) -> "ChatPrompts | None":
    if not arguments.chat_template:
        return None
    if vocabulary is None:
        raise UserError(
            "--chat_template needs a vocabulary. Name one with --vocabulary: a tokenizer's folder, as a rule."
        )
    from flan_jax.data.chat.prompts import ChatPrompts
    from flan_jax.experiments.chat_template import check_tasks, template_of

    template = template_of(arguments.chat_template, arguments.vocabulary or mixture.vocabulary)
    check_tasks(template, mixture)
    return None if template is None else ChatPrompts(template, vocabulary)


def _examples(task: "Task", how: "ViewOptions") -> "Iterator[ExampleView | None]":
    from flan_jax.cli.example_view import preprocessed_examples, prompted_examples
    from flan_jax.tasks.task import as_prompted

    own = as_prompted(task)
    return preprocessed_examples(task, how) if own is None else prompted_examples(own, how)


def _indent(text: str) -> str:
    return text.replace("\n", "\n" + " " * _KEPT_FOR_LINE)
