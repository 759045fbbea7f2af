"""The rates of a mixture's training tasks, chosen otherwise: proportional or equal, another cap or temperature."""

import dataclasses

from flan_jax.errors import UserError
from flan_jax.mixing.config import MixingConfig
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Equal, Policy, Proportional


def with_training_rates(mixture: Mixture, config: MixingConfig) -> Mixture:
    """Returns the mixture with the rates that a configuration asks for.

    Other rates are given to lists of tasks; what a nested mixture gets beside others stays as it is. The prompts of one
    task share its rate as they did.

    Args:
        mixture: any; nested mixtures are changed alike.
        config: ``rates``, ``cap`` and ``temperature`` are read.

    Raises:
        UserError: a cap or temperature for rates that no size decides, or that the mixture's unit does not allow.
    """
    given = {"cap": config.cap, "temperature": config.temperature}
    changes = {name: value for name, value in given.items() if value is not None}
    if config.rates == "own":
        if not changes:
            return mixture
        changed = _resized(mixture, changes)
        if changed == mixture and not _has_sized(mixture):
            name, value = next(iter(changes.items()))
            raise UserError(
                f"run.{name}={value:g} is for rates that grow with size, and mixture {mixture.name!r} has none: its policy is "
                f"{mixture.policy!r} or every rate is given. Set run.rates='proportional', or leave {name} out."
            )
        return changed
    policy: Policy = Equal() if config.rates == "equal" else Proportional(config.cap, config.temperature or 1.0)
    return _by_policy(mixture, policy)


def _is_sized(mixture: Mixture) -> bool:
    """Tells whether a size decides any rate of the mixture itself."""
    return isinstance(mixture.policy, Proportional) and any(entry.rate is None for entry in mixture.entries)


def _has_sized(mixture: Mixture) -> bool:
    nested = [entry.task for entry in mixture.entries if isinstance(entry.task, Mixture)]
    return _is_sized(mixture) or any(map(_has_sized, nested))


def _resized(mixture: Mixture, changes: dict[str, float]) -> Mixture:
    """The mixture with these attributes of every policy that is proportional to size."""
    entries = tuple(
        dataclasses.replace(entry, task=_resized(entry.task, changes)) if isinstance(entry.task, Mixture) else entry
        for entry in mixture.entries
    )
    policy = mixture.policy
    if _is_sized(mixture) and isinstance(policy, Proportional):
        policy = dataclasses.replace(policy, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(mixture, entries=entries, policy=policy)


def _by_policy(mixture: Mixture, policy: Policy) -> Mixture:
    """The mixture whose tasks get their rates from a policy, each divided among its prompts as it was."""
    if any(isinstance(entry.task, Mixture) for entry in mixture.entries):
        entries = tuple(
            dataclasses.replace(entry, task=_by_policy(entry.task, policy))
            if isinstance(entry.task, Mixture)
            else entry
            for entry in mixture.entries
        )
        return dataclasses.replace(mixture, entries=entries)
    whole: dict[str, float] = {}
    for entry in mixture.entries:
        whole[_spec(entry)] = whole.get(_spec(entry), 0.0) + _weight(entry)
    entries = tuple(
        entry if entry.rate == 0 else dataclasses.replace(entry, rate=None, scale=_weight(entry) / whole[_spec(entry)])
        for entry in mixture.entries
    )
    return dataclasses.replace(mixture, entries=entries, policy=policy)


def _spec(entry: Entry) -> str:
    return entry.task.name if isinstance(entry.task, Mixture) else entry.task.spec_name


def _weight(entry: Entry) -> float:
    return (1.0 if entry.rate is None else entry.rate) * entry.scale
