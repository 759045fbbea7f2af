"""Tokenise and index each task of a mixture once, into a store that training reads; only what changed is done."""

import argparse
import json

EXAMPLE = "flan-jax prepare --mixture mini --store store --inputs 64 --targets 16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--mixture", required=True, help="a mixture or a task")
    parser.add_argument("--store", required=True, help="folder of prepared tasks")
    parser.add_argument(
        "--inputs", type=int, default=512, help="length of inputs in tokens, EOS included (default 512)"
    )
    parser.add_argument(
        "--targets", type=int, default=128, help="length of targets in tokens, EOS included (default 128)"
    )
    parser.add_argument(
        "--vocabulary",
        default="",
        help="a registered name, 'bytes' or a SentencePiece file; default: the mixture's own",
    )
    parser.add_argument("--data_dir", default="", help="folder that sources look below")
    parser.add_argument("--seed", type=int, default=0, help="decides which example gets which template")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prepares every task and split that the mixture trains on or measures."""
    from flan_jax.cli.console import prepare_progress, report_preparation
    from flan_jax.data import sources
    from flan_jax.data.prepare import prepare
    from flan_jax.experiments.setup import resolve_mixture, resolve_vocabulary, wanted
    from flan_jax.feed.store import TokenStore

    if arguments.data_dir:
        sources.set_data_dir(arguments.data_dir)
    lengths = {"inputs": arguments.inputs, "targets": arguments.targets}
    mixture = resolve_mixture(arguments.mixture)
    report = prepare(
        wanted(mixture, mixture.suites),
        store=TokenStore(arguments.store),
        vocabulary=resolve_vocabulary(arguments.vocabulary, arguments.mixture),
        lengths=lengths,
        seed=arguments.seed,
        progress=prepare_progress(quiet=arguments.json),
    )
    if arguments.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        report_preparation(report)
    return 0
