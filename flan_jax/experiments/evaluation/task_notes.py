"""Sentences that a reader of a task's result must know: of its prompts, what was cut or left out, and how often each is asked."""

import collections
from collections.abc import Sequence

import numpy as np

from flan_jax.data.prepare.split_job import read_outcome
from flan_jax.experiments.config import RunConfig
from flan_jax.store.store import StoredTask
from flan_jax.tasks.rendering.option_orders import OptionOrder
from flan_jax.tasks.spec import ENDING, GROUP, ORDER, Prompted


def task_notes(task: Prompted, stored: StoredTask, chosen: Sequence[int], config: RunConfig) -> tuple[str, ...]:
    """Says what holds of the examples of a prepared task, a sentence each.

    Args:
        task: as it is asked.
        stored: its prepared split.
        chosen: the rows that are measured.
        config: of the run.
    """
    return (
        *_cut_notes(stored),
        *_shot_notes(task, stored, config),
        *_repeat_notes(task, stored, chosen),
        *_ending_notes(task, stored),
        *_group_notes(stored, chosen),
    )


def kept_text(stored: StoredTask, name: str, index: int) -> str:
    """A text that was kept beside the tokens of an example; ``""`` where the store has none of that name."""
    kind = stored.extra_types.get(name)
    return "" if kind is None else bytes(np.asarray(stored.tokens.extra(name, kind, index))[()]).decode()


def _repeat_notes(task: Prompted, stored: StoredTask, chosen: Sequence[int]) -> tuple[str, ...]:
    """Says under how many templates and in how many orders of its options a record is asked; nothing for one of each."""
    repeats, notes = task.repeats, []
    records = len({int(stored.example_ids[row]) for row in chosen})
    if repeats.templates > 1:
        able = [one for one in task.drawn_templates if one in task.scored_templates]
        pairs = {(int(stored.example_ids[row]), int(stored.template_ids[row])) for row in chosen}
        fewer = f" There are no more than {len(able)}." if len(able) < repeats.templates else ""
        notes.append(
            f"Each of {records:,} records is asked under {len(pairs) / records:.3g} of {len(able)} templates, every template "
            f"about as often; the quantiles over templates are estimated from these answers.{fewer}"
        )
    if repeats.option_orders > 1 and not any(
        OptionOrder.from_text(kept_text(stored, ORDER, row)).number for row in chosen
    ):
        notes.append(
            f"{repeats.option_orders} orders of the options are asked for, but no prompt lists any in an order of ours: "
            "each is asked once."
        )
    return tuple(notes)


def _shot_notes(task: Prompted, stored: StoredTask, config: RunConfig) -> tuple[str, ...]:
    """Says how many solved examples stand before each question, where the run chose that; else nothing."""
    if not config.evaluation.shots:
        return ()
    room = task.few_shot.budget or config.tokenize.lengths["inputs"] * 15 // 16
    left_out = read_outcome(stored, None).filtered
    return (
        f"Asked with up to {config.evaluation.shots} solved examples of the training split, as many as fit {room} tokens, "
        "drawn by (seed, task, example) and never one that asks the same. "
        f"{left_out} records are left out: there is room for none before them, or they are no examples of the task.",
    )


def _cut_notes(stored: StoredTask) -> tuple[str, ...]:
    """Says how many prompts and targets of the split were cut when it was prepared; nothing where none was."""
    outcome = read_outcome(stored, None)
    sides = (("prompts", outcome.truncated_inputs), ("targets", outcome.truncated_targets))
    return tuple(
        f"{count:,} of {len(stored):,} {side} of this split were longer than the run's lengths and were cut when it was "
        "prepared; what is measured of them is the part that is left."
        for side, count in sides
        if count
    )


def _ending_notes(task: Prompted, stored: StoredTask) -> tuple[str, ...]:
    if ENDING not in task.spec.extras or ENDING in stored.extra_types:
        return ()
    return (
        "Answers are compared with the words that stand behind all of them, which raises F1: the task was prepared "
        "before it declared its `ending`. Prepare it again.",
    )


def _group_notes(stored: StoredTask, chosen: Sequence[int]) -> tuple[str, ...]:
    """Says how many groups are not measured as a whole, in a sentence; nothing where all are."""
    if GROUP not in stored.extra_types:
        return ()
    names = [kept_text(stored, GROUP, index) for index in range(len(stored))]
    whole, asked = collections.Counter(names), collections.Counter(names[index] for index in chosen)
    parted = sum(count < whole[name] for name, count in asked.items())
    if not parted:
        return ()
    return (
        f"{parted} of {len(asked)} groups are measured by a part of their examples: the others are beyond max_examples, "
        "or have templates that are not scored.",
    )
