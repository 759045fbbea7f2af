"""A mixture's effective rates: from a prepared store, from its sources, or from the sizes they are published with."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.experiments.data import TRAIN_SPLIT
from flan_jax.feed.sampler import MixtureSampler
from flan_jax.mixing.mixture import Mixture
from flan_jax.mixing.table import ExamplesFrom, RateTable, rate_table
from flan_jax.store.store import TokenStore
from flan_jax.tasks.task import Task

SizesFrom = Literal["data", "published"]
SIZES: tuple[str, ...] = get_args(SizesFrom)
MOST_DRAWS = 10**13
"""What a run can draw: the sampler counts a little further."""


def mixture_rates(
    mixture: Mixture, *, draws: int = 0, store: str = "", seed: int = 0, sizes_from: SizesFrom = "data"
) -> RateTable:
    """Tabulates the rate of every task that the mixture trains on.

    Args:
        mixture: what to describe.
        draws: examples drawn over a run, for epochs; 0 leaves them out.
        store: folder of prepared tasks, which know their sizes and tokens; without it the records
            of the sources are counted, or taken as published where they are not on this machine.
            Of a store, only manifests are read.
        sizes_from: ``published`` takes the examples that FLAN's public code counts of a task in its
            prompt mode, for those that it has; ``data`` leaves them out of it.
        seed: of the run; with ``draws`` and ``store``, what the sampler will draw is told too.

    Raises:
        UserError: a task is not prepared, or in several ways; published sizes beside a store; as
            ``Mixture.weights``.
    """
    if sizes_from not in SIZES:
        raise unknown("kind of sizes", sizes_from, SIZES)
    if store and sizes_from == "published":
        raise UserError(
            "A store has sizes of its own, so published ones have no place beside it. Give --store or --sizes."
        )
    if not 0 <= draws <= MOST_DRAWS:
        raise UserError(f"{draws} draws cannot be described; give a number from 0 to {MOST_DRAWS:,}.")
    if not store:
        sizes, known = count_all_records(mixture, published_cases=sizes_from == "published")
        return _with_origins(rate_table(mixture, sizes, draws=draws or None), known)
    # The only prepared form of each task; a task that is left out need not be there.
    wanted = [(task.name, TRAIN_SPLIT, None, None) for task in mixture.drawn_tasks]
    manifests = {task.name: task.manifest for task in TokenStore(store).open_many(wanted, verify="never", fetch=False)}
    sizes = {name: int(manifest["num_examples"]) for name, manifest in manifests.items()}
    tokens = {
        name: (manifest["input_tokens"] + manifest["target_tokens"]) / max(sizes[name], 1)
        for name, manifest in manifests.items()
    }
    counts = drawn_counts(sizes, mixture.weights(sizes, tokens), draws, seed) if draws else None
    table = rate_table(mixture, sizes, mean_tokens=tokens, draws=draws or None, counts=counts)
    return _with_origins(table, dict.fromkeys(sizes, "store"))


def _with_origins(table: RateTable, known: Mapping[str, ExamplesFrom]) -> RateTable:
    """The table with where each size is from."""
    rows = tuple(dataclasses.replace(row, examples_from=known.get(row.task)) for row in table.rows)
    return dataclasses.replace(table, rows=rows)


def drawn_counts(sizes: dict[str, int], weights: dict[str, float], draws: int, seed: int) -> dict[str, int]:
    """Counts how often a run with this seed draws from each task of a positive weight, in its first ``draws`` draws.

    Args:
        sizes: task → number of training examples.
        weights: task → share of draws, in the mixture's order.
        draws: how many.
        seed: of the run.
    """
    drawn = [name for name, weight in weights.items() if weight > 0]  # as a run numbers its tasks
    sampler = MixtureSampler([sizes[name] for name in drawn], [weights[name] for name in drawn], seed, names=drawn)
    return dict(zip(drawn, np.asarray(sampler.counts(draws)).tolist(), strict=True))


def count_all_records(
    mixture: Mixture, *, published_cases: bool = False
) -> tuple[dict[str, int], dict[str, ExamplesFrom]]:
    """Counts the training records of every task that is drawn: task → number, and task → where that is from.

    Each source is read once.

    Args:
        mixture: what is drawn from.
        published_cases: a task of Flan 2022 counts what its public code counts, and is not read.
    """
    counted: dict[int, tuple[int, ExamplesFrom]] = {}
    sizes: dict[str, int] = {}
    known: dict[str, ExamplesFrom] = {}
    for task in mixture.drawn_tasks:
        cases = _cases(task) if published_cases else None
        if cases is not None:
            sizes[task.name], known[task.name] = cases, "cases"
            continue
        source = _source_id(task)
        if source not in counted:
            counted[source] = _size(task)
        sizes[task.name], known[task.name] = counted[source]
    return sizes, known


def _cases(task: Task) -> int | None:
    from mixtures.flan2022.cases import cases_of

    return cases_of(task)


def _source_id(task: Task) -> int:
    return id(task.spec.source if task.spec is not None else task)


def count_records(task: Task) -> int:
    """Counts the training records of a task: as published where a published data set is not on this machine.

    Raises:
        UserError: the task has no records of its own that could be counted, or none to train on.
    """
    return _size(task)[0]


def _size(task: Task) -> tuple[int, ExamplesFrom]:
    if task.spec is not None and TRAIN_SPLIT not in task.splits:
        raise UserError(
            f"Task {task.name!r} has no split {TRAIN_SPLIT!r}, only {', '.join(task.splits)}. Leave it out with the rate 0."
        )
    elsewhere = task.source is not None and task.source.is_elsewhere
    size = task.source.published_count(TRAIN_SPLIT) if task.source is not None and elsewhere else None
    if task.spec is not None and size is not None:
        return size, "published"
    try:
        counted = task.count(TRAIN_SPLIT)
    except UserError as error:
        if not elsewhere:
            raise
        raise UserError(
            f"The size of task {task.name!r} is not known without its data: {str(error).rstrip('.')}. "
            "Or name a folder of local copies with --source_dir."
        ) from error
    if counted is None:
        raise UserError(
            f"The examples of task {task.name!r} are known only when it is prepared. "
            "Prepare it with `flan-jax prepare` and name the store (--store)."
        )
    return counted, "counted"
