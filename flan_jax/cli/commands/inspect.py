"""Show examples of a task exactly as the model sees them: input, target, options, tokens, template."""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.data.seqio_tasks import SeqioTask
    from flan_jax.data.tokenizers import Vocabulary
    from flan_jax.tasks.spec import Prompted

EXAMPLE = "flan-jax inspect review_sentiment --mode zs_noopt -n 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("name", help="a task, or a mixture (its first tasks are shown)")
    parser.add_argument("--mode", default="zs_opt", help="zs_opt (default) or zs_noopt; seqio tasks have none")
    parser.add_argument("--split", default="train")
    parser.add_argument("-n", type=int, default=2, help="examples to show (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="decides which example gets which template")
    parser.add_argument(
        "--vocabulary",
        default="",
        help="a registered name, 'bytes' or a SentencePiece file; default: the mixture's own",
    )
    parser.add_argument("--data_dir", default="", help="folder that sources look below")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


@dataclasses.dataclass(frozen=True)
class _Shown:
    """One example as it is printed."""

    heading: str
    row: dict[str, Any]
    lines: list[tuple[str, str]]


def execute(arguments: argparse.Namespace) -> int:
    """Prints examples."""
    from flan_jax.data import sources
    from flan_jax.data.seqio_tasks import SeqioTask
    from flan_jax.errors import unknown
    from flan_jax.experiments.setup import resolve_mixture, resolve_vocabulary
    from flan_jax.tasks.spec import Prompted, PromptMode

    if arguments.mode not in list(PromptMode):
        raise unknown("prompt mode", arguments.mode, [str(mode) for mode in PromptMode])
    if arguments.n < 1:
        raise UserError(f"-n {arguments.n} must be at least 1.")
    if arguments.data_dir:
        sources.set_data_dir(arguments.data_dir)
    mixture = resolve_mixture(arguments.name)
    named = arguments.vocabulary or mixture.vocabulary
    theirs = any(isinstance(task, SeqioTask) for task in mixture.all_tasks)
    vocabulary = resolve_vocabulary(arguments.vocabulary, mixture) if named or theirs else None
    # Two modes of one task are one task here: the mode shown is that of the command.
    tasks = {task.spec.name if isinstance(task, Prompted) else task.name: task for task in mixture.train_tasks}
    chosen = list(itertools.islice(tasks.values(), arguments.n))
    each = 1 if len(tasks) > 1 else arguments.n
    for task in chosen:
        if arguments.split not in task.splits:
            raise unknown(f"split of task {task.name!r}", arguments.split, task.splits)
        if isinstance(task, Prompted):
            task = dataclasses.replace(task, mode=PromptMode(arguments.mode))
            examples = _ours(task, arguments, vocabulary)
        elif isinstance(task, SeqioTask) and vocabulary is not None:
            examples = _theirs(task, arguments, vocabulary)
        else:
            raise UserError(f"Task {task.name!r} is a {type(task).__name__}, whose examples cannot be shown.")
        for shown in itertools.islice(examples, each):
            if arguments.json:
                print(json.dumps({"task": task.name, "split": arguments.split, **shown.row}, ensure_ascii=False))
                continue
            print(f"── {task.name} · {arguments.split} {shown.heading} · cluster {task.cluster}")
            for label, text in shown.lines:
                print(f"{label + ':' if label else '':<8} {_indent(text)}")
            print()
    return 0


def _ours(task: "Prompted", arguments: argparse.Namespace, vocabulary: "Vocabulary | None") -> Iterator[_Shown]:
    from flan_jax.tasks.render import render

    for index, record in enumerate(task.spec.source.records(arguments.split)):
        rendered = render(task, record, index=index, seed=arguments.seed)
        lines = [("input", rendered.inputs), ("target", rendered.targets)]
        if rendered.options:
            lines.append(("options", " | ".join(rendered.options)))
        if len(rendered.references) > 1:
            lines.append(("accepts", " | ".join(rendered.references)))
        tokens = None
        if vocabulary is not None:
            tokens = {"inputs": vocabulary.encode(rendered.inputs), "targets": vocabulary.encode(rendered.targets)}
            counts = f"{len(tokens['inputs'])} + EOS → {len(tokens['targets'])} + EOS, as {vocabulary.name} reads them:"
            lines += [("tokens", counts), ("", vocabulary.decode(tokens["inputs"]))]
        heading = f"{index} · template {rendered.template_id}"
        yield _Shown(heading, {**dataclasses.asdict(rendered), "tokens": tokens}, lines)


def _theirs(task: "SeqioTask", arguments: argparse.Namespace, vocabulary: "Vocabulary") -> Iterator[_Shown]:
    """What seqio's pipeline yields: ids, and their text; then every further feature."""
    from flan_jax.data.producers import producer
    from flan_jax.data.recipe import Recipe, Tally

    made = producer(task, Recipe(vocabulary, seed=arguments.seed))
    for example in made.examples(arguments.split, Tally()):
        ids = {"inputs": example.inputs.tolist(), "targets": example.targets.tolist()}
        text = {name: vocabulary.decode(side) for name, side in ids.items()}
        extras = {name: _plain(value) for name, value in example.extras.items()}
        counts = f"{len(ids['inputs'])} → {len(ids['targets'])}, decoded by {vocabulary.name}"
        lines = [("input", text["inputs"]), ("target", text["targets"]), ("tokens", counts)]
        lines += [("", f"{name} = {json.dumps(value, ensure_ascii=False)}") for name, value in extras.items()]
        row = {**text, "references": list(example.references), "example_id": example.example_id}
        yield _Shown(str(example.example_id), {**row, "tokens": ids, "features": extras}, lines)


def _plain(value: Any) -> Any:
    """A feature as JSON has it; text that is no UTF-8 with its odd bytes written out."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return _plain(value.tolist()) if hasattr(value, "tolist") else value


def _indent(text: str) -> str:
    return text.replace("\n", "\n         ")
