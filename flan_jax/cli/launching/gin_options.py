"""gin for launches: the options of each target, in files of the user's own, beside the flags."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gin

from flan_jax.cli.gin_checks import check_bindings
from flan_jax.cli.gin_order import FileOrder
from flan_jax.cli.gin_reader import OURS, GinReader, shipped_gin_dir
from flan_jax.cli.gin_values import as_gin, fields_of, in_order
from flan_jax.launch.options import TARGETS, LaunchConfig

for _target in TARGETS.values():
    gin.external_configurable(_target, module="flan_jax")


def bound_options(
    kind: type[LaunchConfig], files: Sequence[str], bindings: Sequence[str], search_paths: Sequence[str]
) -> dict[str, Any]:
    """Reads gin files and bindings, in this order; returns what they set of a target's options.

    A file may hold the options of several targets.

    Raises:
        UserError: an unknown file, macro, target or option; a value of another type; something that no launch reads.
    """
    gin.clear_config()
    reader = GinReader(search_paths)
    order = FileOrder(shipped_gin_dir(), search_paths)
    for file in files:
        with order.reading(file):
            reader.file(file)
    order.check(bindings)
    for name, value in in_order(bindings):
        reader.binding(name, as_gin(value, fields_of(name)), f"--gin.{name}={value}")
    check_bindings(reader.origins, [f"{OURS}{target.__name__}" for target in TARGETS.values()])
    found = gin.get_bindings(f"{OURS}{kind.__name__}")
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in found.items() if name in names}
