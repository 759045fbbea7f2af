"""Suites asked otherwise than they are declared: some of their tasks, other templates, shots, or several ways of asking."""

import dataclasses
import fnmatch
from collections.abc import Sequence

from flan_jax.errors import UserError, unknown
from flan_jax.mixing.mixture import Suite
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.repeats import ONCE, Repeats
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import Task

_FEW, _ZERO = "fs_", "zs_"


def select_tasks(suites: Sequence[Suite], patterns: Sequence[str]) -> tuple[Suite, ...]:
    """Keeps the tasks whose name, spec's name or cluster matches one of the patterns, and the suites that have such.

    Args:
        suites: to choose from.
        patterns: ``*`` stands for any letters; none keeps all.

    Raises:
        UserError: a pattern matches nothing.
    """
    if not patterns:
        return tuple(suites)
    tasks = [task for suite in suites for task in suite.tasks]
    for pattern in patterns:
        if not any(_matches(task, pattern) for task in tasks):
            known = {name for task in tasks for name in _names(task)}
            raise unknown("task or cluster of the suites", pattern, known)
    kept = [
        (suite, tuple(task for task in suite.tasks if any(_matches(task, p) for p in patterns))) for suite in suites
    ]
    return tuple(dataclasses.replace(suite, tasks=chosen) for suite, chosen in kept if chosen)


def _names(task: Task) -> set[str]:
    return {task.name, task.spec_name, task.cluster}


def _matches(task: Task, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in _names(task))


def asked_words(shots: int | None = None, templates: Sequence[int] = (), repeats: Repeats = ONCE) -> tuple[str, ...]:
    """Says in parts of a name how tasks are asked: ``("5shot", "templates0_3")``; nothing for as they are declared."""
    words = [
        "" if shots is None else f"{shots}shot",
        f"templates{'_'.join(map(str, templates))}" if templates else "",
        f"budget{repeats.templates}" if repeats.templates > 1 else "",
        f"{repeats.option_orders}orders" if repeats.option_orders > 1 else "",
    ]
    return tuple(word for word in words if word)


def with_prompts(
    suites: Sequence[Suite],
    *,
    shots: int | None = None,
    templates: Sequence[int] = (),
    repeats: Repeats = ONCE,
) -> tuple[Suite, ...]:
    """Asks the tasks of suites with so many solved examples, with these of their templates, or several times; names say so.

    Args:
        suites: whose tasks are asked.
        shots: solved examples of the training split before each; 0 for none, ``None`` for what the suite declares.
        templates: indices of the templates that are drawn from; none for what the suite declares.
        repeats: in how many ways each record is asked.

    Raises:
        UserError: a task whose prompts are its own, that has no few-shot mode, or lacks a template.
    """
    if shots is None and not templates and repeats.once:
        return tuple(suites)
    return tuple(
        dataclasses.replace(suite, tasks=tuple(_asked(task, shots, tuple(templates), repeats) for task in suite.tasks))
        for suite in suites
    )


def _asked(task: Task, shots: int | None, templates: tuple[int, ...], repeats: Repeats) -> Prompted:
    if not isinstance(task, Prompted):
        raise UserError(
            f"Task {task.name!r} is a {type(task).__name__}, whose prompts are its own: shots, templates and orders of options cannot "
            "be chosen. Leave it out (--tasks)."
        )
    if shots is not None:
        task = _with_shots(task, shots)
    # Another name than that of the task that is trained on, which is asked as it is declared.
    variant = "_".join([*([task.variant] if task.variant else []), *asked_words(shots, templates, repeats)])
    return dataclasses.replace(task, template_ids=templates or task.template_ids, variant=variant, repeats=repeats)


def _with_shots(task: Prompted, shots: int) -> Prompted:
    wanted = task.mode.value.replace(*((_ZERO, _FEW) if shots else (_FEW, _ZERO)))
    if not task.mode.instructs or wanted not in task.spec.modes:
        why = (
            f"the mode {str(task.mode)!r} has no solved examples"
            if not task.mode.instructs
            else "its source has no training split to take solved examples from"
        )
        raise UserError(
            f"Task {task.name!r} cannot be asked with {shots} solved examples: {why}. Leave it out (--tasks)."
        )
    task = dataclasses.replace(task, mode=PromptMode(wanted))
    return dataclasses.replace(task, few_shot=dataclasses.replace(task.few_shot, shots=shots)) if shots else task
