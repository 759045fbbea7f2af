"""A mixture's effective rates, from its sources or from a prepared store."""

from flan_jax.experiments.setup import TRAIN_SPLIT
from flan_jax.feed.store import TokenStore
from flan_jax.mixing.mixture import Mixture
from flan_jax.mixing.table import RateRow, rate_table
from flan_jax.tasks.spec import Prompted


def mixture_rates(mixture: Mixture, *, draws: int = 0, store: str = "") -> tuple[RateRow, ...]:
    """The rate of every entry.

    Args:
        mixture: what to describe.
        draws: examples drawn over a run, for the column of epochs; 0 leaves it out.
        store: folder of prepared tasks, which know their sizes and tokens; without it the records
            of the sources are counted.
    """
    if not store:
        sizes = {task.name: count_records(task) for task in mixture.train_tasks}
        return rate_table(mixture, sizes, draws=draws or None)
    stored = {task.name: TokenStore(store).open(task.name, TRAIN_SPLIT) for task in mixture.train_tasks}
    tokens = {
        name: float((task.input_lengths.sum() + task.target_lengths.sum()) / max(len(task), 1))
        for name, task in stored.items()
    }
    sizes = {name: len(task) for name, task in stored.items()}
    return rate_table(mixture, sizes, mean_tokens=tokens, draws=draws or None)


def count_records(task: Prompted) -> int:
    """The number of training records of a task."""
    return sum(1 for _ in task.spec.source.records(TRAIN_SPLIT))
