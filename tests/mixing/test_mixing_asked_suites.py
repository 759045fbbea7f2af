"""Suites asked otherwise than declared: which tasks, which templates, how many solved examples."""

import dataclasses

import pytest

from flan_jax.data.sources.generated import generated
from flan_jax.errors import UserError
from flan_jax.mixing.asked_suites import select_tasks, with_prompts
from flan_jax.mixing.mixture import Suite
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.testing.tasks import COPY, PARITY

BOTH = (
    Suite("seen", (Prompted(PARITY), Prompted(COPY)), split="train"),
    Suite("held_out", (Prompted(COPY),), held_out=True),
)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), {"seen": [PARITY.name, COPY.name], "held_out": [COPY.name]}),
        ((PARITY.name,), {"seen": [PARITY.name]}),
        ((f"{COPY.name}_zs_opt",), {"seen": [COPY.name], "held_out": [COPY.name]}),
        ((f"{COPY.cluster[:3]}*", PARITY.name), {"seen": [PARITY.name, COPY.name], "held_out": [COPY.name]}),
    ],
)
def test_tasks_are_chosen_by_name_or_cluster(patterns, expected):
    chosen = select_tasks(BOTH, patterns)
    assert {suite.name: [task.spec.name for task in suite.tasks] for suite in chosen} == expected
    assert {(suite.name, suite.split, suite.held_out) for suite in chosen} <= {
        (s.name, s.split, s.held_out) for s in BOTH
    }


def test_a_pattern_of_nothing_has_neighbors():
    with pytest.raises(
        UserError, match=f"Unknown task or cluster of the suites '{PARITY.name}y'. Did you mean '{PARITY.name}'"
    ):
        select_tasks(BOTH, [f"{PARITY.name}y"])


def test_any_number_of_solved_examples_stands_before_a_question():
    for before, after in ((PromptMode.ZS_OPT, PromptMode.FS_OPT), (PromptMode.ZS_NOOPT, PromptMode.FS_NOOPT)):
        suite = Suite("s", (Prompted(PARITY, before),))
        ((task,),) = (own.tasks for own in with_prompts([suite], shots=7))
        assert (task.mode, task.few_shot.shots, task.spec) == (after, 7, PARITY)
        ((again,),) = (own.tasks for own in with_prompts([dataclasses.replace(suite, tasks=(task,))], shots=2))
        assert (again.mode, again.few_shot.shots) == (after, 2)
        ((none,),) = (own.tasks for own in with_prompts([dataclasses.replace(suite, tasks=(task,))], shots=0))
        assert none.mode == before


def test_templates_are_chosen_and_nothing_else_changes():
    ((task,),) = (suite.tasks for suite in with_prompts([Suite("s", (Prompted(PARITY),))], templates=(1,)))
    assert task == Prompted(PARITY, template_ids=(1,), variant="templates1")
    assert with_prompts(BOTH) == BOTH


def test_a_task_that_cannot_be_asked_so_is_named():
    alone = dataclasses.replace(PARITY, source=generated(PARITY.name, lambda split: [], 1, splits=("test",)))
    with pytest.raises(
        UserError, match=r"cannot be asked with 3 solved examples: its source has no training split.*--tasks"
    ):
        with_prompts([Suite("s", (Prompted(alone),))], shots=3)
    with pytest.raises(UserError, match=r"the mode 'no_template' has no solved examples"):
        with_prompts([Suite("s", (Prompted(PARITY, PromptMode.NO_TEMPLATE),))], shots=3)
    with pytest.raises(UserError, match=r"template_ids=\(99,\) must be"):
        with_prompts([Suite("s", (Prompted(PARITY),))], templates=(99,))


class Foreign:
    """A task of another kind."""

    name = spec_name = "theirs"
    cluster = "c"


def test_a_task_of_another_kind_keeps_its_prompts():
    with pytest.raises(UserError, match=r"Task 'theirs' is a Foreign, whose prompts are its own"):
        with_prompts([Suite("s", (Foreign(),))], shots=1)
