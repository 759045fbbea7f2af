"""How many examples the public code of Flan 2022 counts of every task.

Its rates are min(count, cap), and it counts what is left after its filters and, of prompts with
solved examples, after those that fit none. The counts are facts of its ``T_NAME_TO_NUM_CASES``.
"""

import csv
import functools
import re
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

from flan_jax.data.collections.t0_datasets import T0_SETS, T0Set, task_name
from flan_jax.tasks.invert import SUFFIX
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import Task, as_prompted

FILE = "published_cases.csv"
NATURAL_INSTRUCTIONS = "tfds_natural_instructions"
"""Super-NaturalInstructions, which the public code reads as one task."""

_INVERSION = "input_inversion"


class Cases(NamedTuple):
    """Examples of one task: as they are, with solved examples of the query's template, and with five of any."""

    zero_shot: int
    x_shot: int
    five_shot: int


class T0Prompt(NamedTuple):
    """A prompt of T0: its data set, and the label that tells it from the data set's other prompts."""

    data: T0Set
    label: str


@functools.cache
def published_cases() -> Mapping[str, Mapping[str, Cases]]:
    """Collection → task, by the public code's name → its examples, of all 287 tasks."""
    found: dict[str, dict[str, Cases]] = {}
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        counts = Cases(int(row["zero_shot"]), int(row["x_shot"]), int(row["five_shot"]))
        found.setdefault(row["collection"], {})[row["task"]] = counts
    return found


@functools.cache
def t0_prompts_by_name() -> Mapping[str, T0Prompt]:
    """The public code's name of a prompt of T0 → what it is a prompt of."""
    begins = {"_".join(filter(None, (data.dataset, data.subset))) + "_": data for data in T0_SETS.values()}
    found = {}
    for name in published_cases()["t0"]:
        start = max(filter(name.startswith, begins), key=len)
        found[name] = T0Prompt(begins[start], re.sub(r"\W+", "_", name.removeprefix(start)).strip("_"))
    return found


def our_name(name: str) -> str:
    """Our name of a task of the public code.

    >>> our_name("stream_input_inversion_aqua"), our_name("wiki_dialog_input_inversion"), our_name("rte")
    ('cot_aqua_inverted', 'wiki_dialog_inverted', 'rte')
    """
    name = name.replace("stream_", "cot_")
    if _INVERSION not in name:
        return name
    return name.replace(f"_{_INVERSION}", "") + SUFFIX


@functools.cache
def _by_our_names() -> Mapping[str, Cases]:
    cases = published_cases()
    return {
        our_name(name): counts for part in ("flan2021", "cot", "dialog", "niv2") for name, counts in cases[part].items()
    }


@functools.cache
def _by_t0_prompt() -> Mapping[tuple[str, str], Cases]:
    return {
        (task_name(data.dataset, data.subset), f"v2_{label}"): published_cases()["t0"][name]
        for name, (data, label) in t0_prompts_by_name().items()
    }


def cases_of(task: Task) -> int | None:
    """What the public code counts of a task in its prompt mode; ``None`` for a task that it has not.

    T0's prompts with five solved examples and those with their own template are one task here, and
    count as the mean of the two.
    """
    own = as_prompted(task)
    return None if own is None else _cases(own)


def _cases(task: Prompted) -> int | None:
    of_t0 = _by_t0_prompt().get((task.spec.name, task.variant))
    counts = of_t0 or _by_our_names().get(task.spec.name)
    if counts is None:
        return None
    if not task.mode.few_shot:
        return counts.zero_shot
    if of_t0 and task.mode.shows_options:
        return (counts.five_shot + counts.x_shot) // 2
    return counts.five_shot if task.few_shot.templates == "mixed" else counts.x_shot
