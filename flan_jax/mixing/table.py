"""The effective-rate table: what a mixture's rates mean before a run is started."""

import dataclasses
from collections.abc import Mapping

from flan_jax.errors import UserError
from flan_jax.mixing import rates
from flan_jax.mixing.mixture import Mixture


@dataclasses.dataclass(frozen=True, slots=True)
class RateRow:
    """One task of a mixture.

    Attributes:
        task: its name.
        cluster: its cluster.
        examples: how many it has.
        cap: the cap that its rate was held to, in examples; ``None`` where none applied.
        rate: what was asked for, explicitly or by the policy, not normalised.
        share: of all examples drawn.
        mean_tokens: tokens of an example, both sides, on average; ``None`` if not known.
        token_share: of all tokens drawn; ``None`` if not known.
        epochs: how often the task is gone through in the run; ``None`` if its length is not known.
    """

    task: str
    cluster: str
    examples: int
    cap: int | None
    rate: float
    share: float
    mean_tokens: float | None = None
    token_share: float | None = None
    epochs: float | None = None


def rate_table(
    mixture: Mixture,
    sizes: Mapping[str, int],
    *,
    mean_tokens: Mapping[str, float] | None = None,
    draws: int | None = None,
) -> tuple[RateRow, ...]:
    """The table, in the order of the mixture's entries.

    Args:
        mixture: what to describe.
        sizes: task → number of training examples.
        mean_tokens: task → mean tokens of an example, for every task or not at all.
        draws: examples drawn in the whole run.

    Raises:
        UserError: as ``Mixture.weights``; or a task is missing from ``mean_tokens``.
    """
    requested = mixture.rates(sizes)
    shares = rates.normalise(requested)
    token_shares: dict[str, float] = {}
    if mean_tokens is not None:
        missing = [name for name in requested if name not in mean_tokens]
        if missing:
            raise UserError(f"The mean length of task {missing[0]!r} is not known. Prepare it with `flan-jax prepare`.")
        tokens = {name: share * mean_tokens[name] for name, share in shares.items()}
        total = sum(tokens.values())
        token_shares = {name: value / total if total else 0.0 for name, value in tokens.items()}
    explicit = mixture.explicit_rates
    rows = []
    for task in mixture.train_tasks:
        name, size = task.name, sizes[task.name]
        rows.append(
            RateRow(
                task=name,
                cluster=task.cluster,
                examples=size,
                cap=_cap(mixture.policy, size) if name not in explicit else None,
                rate=requested[name],
                share=shares[name],
                mean_tokens=None if mean_tokens is None else float(mean_tokens[name]),
                token_share=token_shares.get(name),
                epochs=None if draws is None else draws * shares[name] / size if size else 0.0,
            )
        )
    return tuple(rows)


def _cap(policy: rates.Policy, size: int) -> int | None:
    """The cap, where it holds a task of ``size`` examples down."""
    if isinstance(policy, rates.Proportional) and policy.cap is not None and policy.scale * size > policy.cap:
        return policy.cap
    return None
