"""Tokenise and index each task of a mixture once, into a store that training reads; only what changed is done."""

import argparse
from typing import TYPE_CHECKING, Any

from flan_jax.cli.escapes import json_text
from flan_jax.cli.mixture_arguments import add_mixture_arguments, mixture_of
from flan_jax.cli.paths import given_any_path, given_name_or_path, name_or_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.data.prepare.prepare import PrepareReport

EXAMPLE = "flan-jax prepare --mixture mini --store store --inputs 64 --targets 16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--mixture", type=given_name_or_path, required=True, help="a mixture or a task")
    parser.add_argument("--store", type=given_any_path, required=True, help="folder of prepared tasks, or its URL")
    parser.add_argument(
        "--inputs", type=int, default=512, help="length of inputs in tokens, EOS included (default 512)"
    )
    parser.add_argument(
        "--targets", type=int, default=128, help="length of targets in tokens, EOS included (default 128)"
    )
    parser.add_argument(
        "--vocabulary",
        type=name_or_path,
        default="",
        help="a registered name, 'bytes', a tokenizer's folder or file; default: the mixture's own",
    )
    add_mixture_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="decides which example gets which template")
    parser.add_argument(
        "--processes",
        type=int,
        default=None,
        metavar="N",
        help="how many processes work at a time (default: one a core); the store is the same",
    )
    parser.add_argument(
        "--on_error",
        default="fail",
        metavar="{fail,skip}",
        help="a record that cannot be read or rendered stops with its place (fail, the default), or is left out and counted",
    )
    parser.add_argument(
        "--too_long",
        default="truncate",
        metavar="{truncate,drop,fail}",
        help="an example longer than its lengths is cut (the default), left out, or stops; cut and left out are counted",
    )
    parser.add_argument(
        "--separator",
        default="",
        metavar="TEXT",
        help="what stands behind inputs instead of the end of sequence, as run.separator of the runs that will read it",
    )
    parser.add_argument(
        "--chat_template",
        type=name_or_path,
        nargs="?",
        const=True,
        default=False,
        metavar="NAME",
        help="put tasks into this chat template, or without a name into that of the tokenizer's folder, as run.chat_template",
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare what is there with its checksums; prepare again what is damaged"
    )
    parser.add_argument(
        "--runner", default="", help="an Apache Beam runner, such as DirectRunner, instead of processes of this machine"
    )
    parser.add_argument(
        "--runner_option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the Beam pipeline; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prepares every task and split that the mixture trains on or measures."""
    from flan_jax.cli.console import prepare_progress, report_preparation

    if arguments.runner_option and not arguments.runner:
        raise UserError("--runner_option belongs to a Beam runner. Name one with --runner, such as DirectRunner.")
    if arguments.runner and arguments.processes is not None:
        raise UserError(
            "--processes and --runner exclude each other: a Beam runner has workers of its own. Leave one out."
        )
    progress = prepare_progress(quiet=arguments.json)
    try:
        report, notes = _prepare(arguments, progress)
    finally:
        if progress is not None:
            progress.close()
    if arguments.json:
        print(json_text({**report.as_dict(), "notes": list(notes)}, indent=1))
    else:
        report_preparation(report)
    return 0


def _prepare(arguments: argparse.Namespace, progress: Any) -> "tuple[PrepareReport, tuple[str, ...]]":
    """The report, and what is to be said of the data beside it."""
    from flan_jax.cli.console import log
    from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
    from flan_jax.experiments.chat_template import check_tasks, template_of
    from flan_jax.experiments.data import resolve_vocabulary, tasks_with_splits
    from flan_jax.experiments.mixture import log_dropped
    from flan_jax.option_groups import group_of
    from flan_jax.store.store import TokenStore

    mixture = mixture_of(arguments, arguments.mixture, seed=arguments.seed)
    template = template_of(arguments.chat_template, arguments.vocabulary or mixture.vocabulary)
    check_tasks(template, mixture)
    vocabulary = resolve_vocabulary(arguments.vocabulary, mixture)
    lengths = {"inputs": arguments.inputs, "targets": arguments.targets}
    seed = arguments.seed if arguments.template_seed is None else arguments.template_seed
    config = PrepareConfig(
        vocabulary, group_of(TokenizeConfig, {**vars(arguments), "lengths": lengths}), seed, template
    )
    common: dict[str, Any] = {
        "store": TokenStore(arguments.store),
        "progress": progress,
        "verify": arguments.verify,
        "modules": arguments.module_import,
    }
    log_dropped(mixture, log)
    tasks = tasks_with_splits(mixture, mixture.suites)
    if arguments.runner:
        from flan_jax.data.prepare.beam import prepare_with_beam

        done = prepare_with_beam(tasks, config, runner=arguments.runner, options=arguments.runner_option, **common)
        return done, mixture.notes
    from flan_jax.data.prepare.prepare import prepare
    from flan_jax.data.prepare.workers import usable_cores

    processes = usable_cores() if arguments.processes is None else arguments.processes
    return prepare(tasks, config, processes=processes, **common), mixture.notes
