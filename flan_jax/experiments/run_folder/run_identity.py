"""The one comparison of runs: whether a configuration that was written down is that of a run."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig, plain
from flan_jax.experiments.renamed import by_new_names
from flan_jax.option_groups import flat_fields


def check_same_config(found: Mapping[str, Any], config: RunConfig, holds: str) -> None:
    """Compares a configuration that was written down, in a manifest or with a checkpoint, with a run's.

    A run that was recorded before a choice existed made it as the default does.

    Args:
        found: what was written down, ``RunConfig.identity`` of its day.
        config: the run.
        holds: where that was found, as the beginning of a sentence.

    Raises:
        UserError: they are two runs; the first differences are named.
    """
    # As JSON reads it back, so that 1 and 1.0, tuples and lists compare equal.
    ours = json.loads(json.dumps(config.identity()))
    theirs = json.loads(json.dumps(with_defaults(found, config)))
    written = by_new_names(found, type(config))
    lines = difference(ours, {name: value for name, value in theirs.items() if name in ours or name in written})
    if len(lines) == 1 and lines[0].startswith(f"{_LENGTH}: ") and config.optimizer.decays:
        raise _other_schedule(theirs["optimizer"]["total_steps"], config, holds)
    if lines:
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UserError(
            f"{holds} another run: {'; '.join(lines[:3])}{more}. Choose another MODEL_DIR, or give this run the same values."
        )


_LENGTH = "optimizer.total_steps"


def _other_schedule(theirs: int, config: RunConfig, holds: str) -> UserError:
    """The refusal to continue a falling schedule over other steps, and what can be done instead."""
    optimizer, steps = config.optimizer, config.steps
    keep = f"OptimizerConfig.total_steps={theirs} keeps the schedule as it was"
    if steps > theirs and not optimizer.final_fraction:  # they would be taken at a rate of 0, which is refused
        keep = f"TRAIN_STEPS={theirs} ends it as it was begun"
    return UserError(
        f"{holds} a run whose {optimizer.schedule} schedule falls over {theirs:,} steps, and this one's falls over "
        f"{optimizer.total_steps:,}: the steps that were taken had other learning rates, so continued it would be neither run. "
        f"{keep}; for a new schedule choose another MODEL_DIR, and this one as INITIAL_CHECKPOINT_PATH."
    )


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns lines ``name: theirs → ours`` for every value that differs, nested mappings walked through.

    >>> difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c: 3 → 2']
    """
    lines: list[str] = []
    for name in sorted({*ours, *theirs}):
        mine, other = ours.get(name), theirs.get(name)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            lines += difference(mine, other, f"{prefix}{name}.")
        elif mine != other:
            lines.append(f"{prefix}{name}: {other!r} → {mine!r}")
    return lines


def with_defaults(found: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Returns the values that a run was recorded with, and for those that nobody recorded then their defaults.

    Args:
        found: from a manifest.
        config: a configuration as it is now, whose fields say the defaults.
    """
    full = by_new_names(found, type(config))
    for option, value in flat_fields(config):
        if option.name in full:
            if dataclasses.is_dataclass(value) and isinstance(full[option.name], Mapping):
                full[option.name] = with_defaults(full[option.name], value)
        elif option.default is not dataclasses.MISSING:
            full[option.name] = plain(option.default)
        elif option.default_factory is not dataclasses.MISSING:
            full[option.name] = plain(option.default_factory())
    return full
