"""Run options by gin's names put into a base run: ``seed``, ``run.weights``, ``OptimizerConfig.learning_rate``."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.experiments.config import RunConfig
from flan_jax.option_groups import flat_fields

_RUN = "run."
_PLACES = ("model_dir", "store")
"""Options that a study gives every run itself."""


def with_run_options(base: RunConfig, options: Mapping[str, Any]) -> RunConfig:
    """Returns the base run with other values of some options.

    A schedule that ends with the base run ends with the run that is returned, where that has other steps.

    Args:
        base: any run.
        options: by gin's names, those of ``run`` with or without ``run.``.

    Raises:
        UserError: no such option, a part that the base run does not have, a value that the option does not take, or one
            that a study gives every run itself.
    """
    plain_options, parts = {}, dict[str, dict[str, Any]]()
    for name, value in options.items():
        owner, _, field = name.removeprefix(_RUN).rpartition(".")
        if owner:
            parts.setdefault(owner, {})[field] = value
        else:
            plain_options[field] = value
    names = [option.name for option, _ in flat_fields(base)]
    found = dict(_parts(base))
    for name in plain_options:
        if name in _PLACES:
            raise UserError(
                f"A study puts each run's {name} into its own folder, so that it cannot be varied. Leave it out."
            )
        if name not in names:
            raise unknown("run option of a study", name, [*names, *_known(found)], remedy=_REMEDY)
    changed: dict[str, Any] = dict(plain_options)
    for owner, values in parts.items():
        if owner not in found:
            name = f"{owner}.{next(iter(values))}"
            raise unknown("run option of a study", name, [*names, *_known(found)], remedy=_REMEDY)
        path, part = found[owner]
        for field in values:
            if field not in {one.name for one in dataclasses.fields(part)}:
                raise unknown("run option of a study", f"{owner}.{field}", _known(found), remedy=_REMEDY)
        _put(changed, base, path, values)
    ends_with_run = base.optimizer.total_steps == max(base.steps, base.optimizer.warmup_steps + 1)
    told = "total_steps" in parts.get("OptimizerConfig", {})
    if "steps" in changed and base.optimizer.decays and ends_with_run and not told:
        optimizer = changed.get("optimizer", base.optimizer)
        changed["optimizer"] = dataclasses.replace(optimizer, total_steps=0)
    return base.with_options(**changed)


_REMEDY = "Options are named as in gin files, without macros: 'seed', 'OptimizerConfig.learning_rate'."


def _parts(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[tuple[str, ...], Any]]]:
    """Yields the class of every part of a run with its place and value: the optimizer, the model, how texts are written."""
    for option, value in flat_fields(config):
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield type(value).__name__, ((*path, option.name), value)
            yield from _parts(value, (*path, option.name))


def _known(parts: Mapping[str, tuple[tuple[str, ...], Any]]) -> list[str]:
    return [f"{owner}.{field.name}" for owner, (_, part) in parts.items() for field in dataclasses.fields(part)]


def _put(changed: dict[str, Any], base: RunConfig, path: tuple[str, ...], values: Mapping[str, Any]) -> None:
    """Puts other values into a part, in what was changed already if it was."""
    top = {option.name: value for option, value in flat_fields(base)}
    chain = [changed.get(path[0], top[path[0]])]
    for name in path[1:]:
        chain.append(next(value for option, value in flat_fields(chain[-1]) if option.name == name))
    part = dataclasses.replace(chain[-1], **values)
    for owner, name in zip(reversed(chain[:-1]), reversed(path[1:]), strict=True):
        part = dataclasses.replace(owner, **{name: part})
    changed[path[0]] = part


def gin_lines(options: Mapping[str, Any]) -> str:
    """Returns options as lines of a gin file, which stand behind a base run's and win over it.

    >>> print(gin_lines({"seed": 3, "OptimizerConfig.learning_rate": 0.001}))
    run.seed = 3
    OptimizerConfig.learning_rate = 0.001
    """
    named = {name if "." in name else f"{_RUN}{name}": value for name, value in options.items()}
    return "\n".join(f"{name} = {value!r}" for name, value in named.items())
