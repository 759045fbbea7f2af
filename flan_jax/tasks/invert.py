"""Input inversion: a task turned around, as a declared transformation.

Where a task asks for an answer to a question, its inversion gives the answer and asks for the
question. FLAN 2022 trains on both; without the inversions, its ablation loses on held-out tasks.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, did_you_mean
from flan_jax.tasks.spec import Fields, Record, TaskSpec, Template

SUFFIX = "_inverted"
GIVEN = "given"
"""The slot of an inversion that holds what the task itself asks for."""


def inverted(
    spec: TaskSpec,
    answer: str,
    templates: tuple[Template, ...],
    *,
    name: str = "",
    metric: str = "rougeL",
    published_answer: str = "",
) -> TaskSpec:
    """Returns the task that asks for another slot of the same records.

    Args:
        spec: the task to turn around.
        answer: the slot that is asked for; a text.
        templates: they may show what ``spec`` asks for as ``{given}``, and its other slots, but not the
            slot asked for. Their targets are ``{answer}``.
        name: ``SPEC_inverted`` when not given.
        metric: of free text.
        published_answer: what ``spec.published`` calls the slot that is asked for; without it the inversion
            takes no published templates.

    Returns:
        A task of the same source, cluster and collection, answered in free text.

    Raises:
        UserError: no such slot, the slot is the task's answer already, or as ``TaskSpec``.
    """
    where = f"The inversion of task {spec.name!r}"
    if answer not in spec.slots:
        raise UserError(
            f"{where}: {answer!r} is not one of its slots {sorted(spec.slots)}.{did_you_mean(answer, spec.slots)}"
        )
    if GIVEN in spec.slots:
        raise UserError(f"{where}: the task has a slot {GIVEN!r} of its own. Rename it, or turn the first task around.")
    if answer == spec.answer:
        raise UserError(f"{where} asks for {answer!r}, which the task asks for already. Choose another slot.")
    return dataclasses.replace(
        spec,
        name=name or spec.name + SUFFIX,
        fields=functools.partial(_given, spec.fields, spec.answer),
        slots=(*(slot for slot in spec.slots if slot != spec.answer), GIVEN),
        templates=templates,
        answer=answer,
        options=(),
        metric=metric,
        other_metrics=(),
        predict="generate",
        rationale="",
        cot_templates=(),
        group=None,
        ending=None,
        published=tuple(
            dataclasses.replace(fields, answer=published_answer, options=(), scored=(), rationale="")
            for fields in spec.published
            if published_answer
        ),
    )


def _given(fields: Fields, answer: str, record: Record) -> Mapping[str, Any] | None:
    """The slots of one record, the answer, or the first of several accepted ones, as ``{given}``."""
    slots = fields(record)
    if slots is None:
        return None
    found = slots[answer]
    rest = {name: value for name, value in slots.items() if name != answer}
    return {**rest, GIVEN: found if isinstance(found, str) else found[0]}
