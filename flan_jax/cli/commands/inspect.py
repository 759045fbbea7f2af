"""Show examples of a task exactly as the model sees them: input, target, options, tokens, template."""

import argparse
import dataclasses
import itertools
import json

from flan_jax.errors import UserError

EXAMPLE = "flan-jax inspect review_sentiment --mode zs_noopt -n 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("name", help="a task, or a mixture (its first tasks are shown)")
    parser.add_argument("--mode", default="zs_opt", help="zs_opt (default) or zs_noopt")
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


def execute(arguments: argparse.Namespace) -> int:
    """Prints examples."""
    from flan_jax.data import sources
    from flan_jax.data.tokenizers import load_vocabulary
    from flan_jax.errors import unknown
    from flan_jax.experiments.setup import resolve_mixture
    from flan_jax.tasks.render import render
    from flan_jax.tasks.spec import PromptMode

    if arguments.mode not in list(PromptMode):
        raise unknown("prompt mode", arguments.mode, [str(mode) for mode in PromptMode])
    if arguments.n < 1:
        raise UserError(f"-n {arguments.n} must be at least 1.")
    if arguments.data_dir:
        sources.set_data_dir(arguments.data_dir)
    mixture = resolve_mixture(arguments.name)
    named = arguments.vocabulary or mixture.vocabulary
    vocabulary = load_vocabulary(named) if named else None
    tasks = {task.spec.name: task for task in mixture.train_tasks}
    shown = list(itertools.islice(tasks.values(), arguments.n)) if len(tasks) > 1 else list(tasks.values())
    each = 1 if len(tasks) > 1 else arguments.n
    for task in shown:
        task = dataclasses.replace(task, mode=PromptMode(arguments.mode))
        if arguments.split not in task.spec.source.splits:
            raise unknown(f"split of task {task.spec.name!r}", arguments.split, task.spec.source.splits)
        records = enumerate(task.spec.source.records(arguments.split))
        for index, record in itertools.islice(records, each):
            rendered = render(task, record, index=index, seed=arguments.seed)
            tokens = None
            if vocabulary is not None:
                tokens = {"inputs": vocabulary.encode(rendered.inputs), "targets": vocabulary.encode(rendered.targets)}
            if arguments.json:
                row = {"task": task.name, "split": arguments.split, **dataclasses.asdict(rendered), "tokens": tokens}
                print(json.dumps(row, ensure_ascii=False))
                continue
            print(
                f"── {task.name} · {arguments.split} {index} · template {rendered.template_id} · cluster {task.spec.cluster}"
            )
            print(f"input:   {_indent(rendered.inputs)}")
            print(f"target:  {_indent(rendered.targets)}")
            if rendered.options:
                print(f"options: {' | '.join(rendered.options)}")
            if len(rendered.references) > 1:
                print(f"accepts: {' | '.join(rendered.references)}")
            if tokens is not None and vocabulary is not None:
                print(
                    f"tokens:  {len(tokens['inputs'])} + EOS → {len(tokens['targets'])} + EOS, as {vocabulary.name} reads them:"
                )
                print(f"         {_indent(vocabulary.decode(tokens['inputs']))}")
            print()
    return 0


def _indent(text: str) -> str:
    return text.replace("\n", "\n         ")
