"""The rate table of a mixture: shares, epochs and tokens of every task, before a run is started."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from flan_jax.errors import UserError, unknown
from flan_jax.mixing import policies, resolve
from flan_jax.mixing.mixture import Mixture
from flan_jax.mixing.units import Unit

Order = Literal["share", "examples", "epochs", "name"]
ORDERS: tuple[str, ...] = get_args(Order)
ExamplesFrom = Literal["cases", "published", "counted", "store"]
"""Where a number of examples is from: the examples that FLAN's public code counts of a task in its prompt mode, the
published size of its whole data set, its records, or a store."""
_ORIGINS: dict[str, str] = {
    "cases": "as FLAN's public code counts them",
    "published": "as published of the whole data set, nothing being read",
    "counted": "counted from the records",
    "store": "in the store",
}


@dataclasses.dataclass(frozen=True, slots=True)
class RateRow:
    """A row of the rate table: one task's rate and share, and what a run of given length draws of it.

    Attributes:
        task: its name.
        cluster: its cluster.
        examples: how many it has; ``None`` if that is not known, as of a task left out.
        cap: the limit that its rate was held to, in the unit of the mixture that lists the task;
            ``None`` where none applied.
        rate: what was asked for, explicitly or by the policy, in the mixture's unit, not normalised.
        share: of all examples drawn.
        mean_tokens: tokens of an example, both sides, on average; ``None`` if not known.
        token_share: of all tokens drawn; ``None`` if not known.
        epochs: how often the task is gone through in the run; ``None`` if its length is not known.
        draws: examples that the sampler draws in the run; ``None`` if it was not asked. So are:
        realized_share: of all examples drawn.
        realized_tokens: tokens drawn: ``draws`` examples of the mean length.
        realized_token_share: of all tokens drawn.
        realized_epochs: how often the task is gone through.
        collection: the published collection that the task belongs to, or ``""``.
        mode: its prompt mode; ``""`` for a task that has none.
        examples_from: where ``examples`` is from; ``None`` where it is not known.
    """

    task: str
    cluster: str
    examples: int | None
    cap: float | None
    rate: float
    share: float
    mean_tokens: float | None = None
    token_share: float | None = None
    epochs: float | None = None
    draws: int | None = None
    realized_share: float | None = None
    realized_tokens: float | None = None
    realized_token_share: float | None = None
    realized_epochs: float | None = None
    collection: str = ""
    mode: str = ""
    examples_from: ExamplesFrom | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NestedRow:
    """A mixture inside the mixture, as a whole.

    Attributes:
        mixture: its name.
        tasks: how many of its tasks are drawn.
        examples: how many these have.
        rate: what was asked for, in the outer mixture's unit, not normalised.
        share: of all examples drawn, by way of this entry.
    """

    mixture: str
    tasks: int
    examples: int
    rate: float
    share: float


@dataclasses.dataclass(frozen=True, slots=True)
class RateTable:
    """A mixture's rates.

    Attributes:
        mixture: its name.
        unit: what its rates count.
        rows: a row for every task of ``train_tasks``.
        nested: a row for every entry that is a mixture; ``()`` for none.
        notes: what one should know of these rates, in a sentence each.
    """

    mixture: str
    unit: Unit
    rows: tuple[RateRow, ...]
    nested: tuple[NestedRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sizes_from(self) -> str:
        """The source of the sizes, for how many tasks; ``""`` where none is known."""
        counts = {origin: sum(row.examples_from == origin for row in self.rows) for origin in _ORIGINS}
        return "; ".join(
            f"{count:,} {'task' if count == 1 else 'tasks'} {_ORIGINS[origin]}"
            for origin, count in counts.items()
            if count
        )

    @property
    def total(self) -> RateRow:
        """All rows together: sums of counts, rates and shares, the mean tokens of a draw, and epochs of all examples drawn from."""
        rows = self.rows
        drawn = [row for row in rows if row.share > 0]
        examples = sum(row.examples or 0 for row in drawn)
        asked = [(row.epochs, row.examples or 0) for row in drawn if row.epochs is not None]
        means = [(row.share, row.mean_tokens) for row in drawn if row.mean_tokens is not None]
        draws = _sum(row.draws for row in rows)
        return RateRow(
            task="total",
            cluster="",
            examples=sum(row.examples or 0 for row in rows),
            cap=None,
            rate=math.fsum(row.rate for row in rows),
            share=math.fsum(row.share for row in rows),
            mean_tokens=math.fsum(share * mean for share, mean in means) if means else None,
            token_share=_sum(row.token_share for row in rows),
            epochs=math.fsum(epochs * size for epochs, size in asked) / examples if asked else None,
            draws=None if draws is None else round(draws),
            realized_share=_sum(row.realized_share for row in rows),
            realized_tokens=_sum(row.realized_tokens for row in rows),
            realized_token_share=_sum(row.realized_token_share for row in rows),
            realized_epochs=None if draws is None else draws / examples,
        )

    def sorted(self, order: Order) -> "RateTable":
        """Sorts the rows: by name, or the largest first.

        Raises:
            UserError: another order, or by epochs where these are not known.
        """
        if order not in ORDERS:
            raise unknown("order of a rate table", order, ORDERS)
        if order == "epochs" and all(row.epochs is None for row in self.rows):
            raise UserError("Epochs are not known without the length of the run. Give the number of draws (--draws N).")
        if order == "name":
            rows = sorted(self.rows, key=lambda row: row.task)
        else:
            rows = sorted(self.rows, key=lambda row: -(getattr(row, order) or 0))
        return dataclasses.replace(self, rows=tuple(rows))


def rate_table(
    mixture: Mixture,
    sizes: Mapping[str, int],
    *,
    mean_tokens: Mapping[str, float] | None = None,
    draws: int | None = None,
    counts: Mapping[str, int] | None = None,
) -> RateTable:
    """Builds the rate table, in the order of the mixture's tasks.

    Args:
        mixture: what to describe.
        sizes: task → number of training examples; tasks left out with the rate 0 may be missing.
        mean_tokens: task → mean tokens of an example, for every task drawn or not at all.
        draws: examples drawn in the whole run.
        counts: task → examples that the sampler really draws in the run; a task not named is not drawn.

    Raises:
        UserError: as ``Mixture.weights``; or a task is missing from ``mean_tokens``.
    """
    asked = mixture.rates(sizes, mean_tokens)
    shares = mixture.weights(sizes, mean_tokens)
    caps = mixture.caps(sizes, mean_tokens)
    if mean_tokens is not None:
        missing = [task.name for task in mixture.drawn_tasks if task.name not in mean_tokens]
        if missing:
            raise UserError(f"The mean length of task {missing[0]!r} is not known. Prepare it with `flan-jax prepare`.")
    token_shares = _token_shares(shares, mean_tokens)
    realized = resolve.normalize(counts) if counts else {}
    realized_token_shares = _token_shares(realized, mean_tokens)
    rows = []
    for task in mixture.train_tasks:
        name = task.name
        size, mean = sizes.get(name), None if mean_tokens is None else mean_tokens.get(name)
        count = counts.get(name, 0) if counts else None
        rows.append(
            RateRow(
                task=name,
                cluster=task.cluster,
                examples=size,
                cap=caps.get(name),
                rate=asked[name],
                share=shares[name],
                mean_tokens=None if mean is None else float(mean),
                token_share=token_shares.get(name),
                epochs=None if draws is None else _epochs(draws * shares[name], size),
                draws=count,
                realized_share=None if count is None else realized.get(name, 0.0),
                realized_tokens=None if count is None or mean_tokens is None else count * (mean or 0.0),
                realized_token_share=realized_token_shares.get(name, 0.0) if realized_token_shares else None,
                realized_epochs=None if count is None else _epochs(count, size),
                collection=task.collection,
                mode=str(task.mode or ""),
            )
        )
    return RateTable(
        mixture.name,
        mixture.unit,
        tuple(rows),
        _nested(mixture, sizes, mean_tokens),
        _notes(mixture, sizes, mean_tokens),
    )


def _epochs(draws: float, size: int | None) -> float:
    return draws / size if size else 0.0


def _token_shares(shares: Mapping[str, float], mean_tokens: Mapping[str, float] | None) -> dict[str, float]:
    """Shares of draws → shares of tokens; empty where no lengths are known."""
    if mean_tokens is None:
        return {}
    tokens = {name: share * mean_tokens[name] if share else 0.0 for name, share in shares.items()}
    total = math.fsum(tokens.values())
    return {name: value / total if total else 0.0 for name, value in tokens.items()}


def _nested(
    mixture: Mixture, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None
) -> tuple[NestedRow, ...]:
    entries = [entry for entry in mixture.entries if isinstance(entry.task, Mixture)]
    if not entries:
        return ()
    asked, shares = mixture.entry_rates(sizes, mean_tokens), mixture.entry_weights(sizes, mean_tokens)
    return tuple(
        NestedRow(
            mixture=entry.task.name,
            tasks=len(entry.drawn_tasks),
            examples=sum(sizes[task.name] for task in entry.drawn_tasks),
            rate=asked[entry.task.name],
            share=shares.get(entry.task.name, 0.0),
        )
        for entry in entries
    )


def _notes(mixture: Mixture, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None) -> tuple[str, ...]:
    """Says where a budget cannot be spent, in the mixture or in one inside it."""
    notes = [
        note
        for entry in mixture.entries
        if isinstance(entry.task, Mixture) and entry.drawn_tasks
        for note in _notes(entry.task, sizes, mean_tokens)
    ]
    policy = mixture.policy
    if mixture.unit_rates:
        notes.append(
            f"{mixture.name}: rates are given by run.weights to {', '.join(unit.name for unit in mixture.unit_rates[:5])}"
            f"{' and others' if len(mixture.unit_rates) > 5 else ''}; inside each they are divided as the mixture's own."
        )
    if isinstance(policy, policies.UniMax) and not mixture.unit_rates:
        most = math.fsum(mixture.entry_rates(sizes, mean_tokens).values())
        if most * (1 + 1e-9) < policy.budget:
            notes.append(
                f"{mixture.name}: the budget of {policy.budget:,.0f} {mixture.unit} is more than {policy.max_epochs:g} "
                f"epochs of everything, which are {most:,.0f}, so shares are proportional to size."
            )
    return tuple(notes)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None
