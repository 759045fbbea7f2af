"""The protocol of tasks: what a prompted task and one of another kind answer."""

import dataclasses

from task_toys import Listed, make, quiz

from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.source import Source
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import BaseTask, Task, as_prompted, prompted


@dataclasses.dataclass(frozen=True)
class Other(BaseTask):
    """The least that a task of another kind is."""

    name: str
    cluster: str = "other"
    splits: tuple[str, ...] = ("train",)


@dataclasses.dataclass(frozen=True)
class Sourced(BaseTask):
    """One whose source is a field that must be given."""

    name: str
    source: Source = dataclasses.field()
    cluster: str = "other"

    @property
    def splits(self) -> tuple[str, ...]:
        return self.source.splits


class Tales(Listed):
    def origins(self):
        return frozenset({"tales"})


def answers(task):
    return (
        task.spec_name,
        task.source,
        task.origins,
        task.mode,
        task.collection,
        dict(task.extras),
        task.drawn_templates,
        task.tokenized_elsewhere,
        task.own_vocabulary(),
        task.own_metrics(None, ()),
        task.count("train"),
    )


def test_a_task_of_another_kind_answers_with_defaults():
    task = Other("a")
    assert isinstance(task, Task)
    assert task.spec is None
    assert answers(task) == ("a", None, frozenset(), None, "", {}, (), False, None, None, None)


def test_its_source_says_what_it_is_made_from():
    task = Sourced("a", Tales(train=({"x": 1},)))
    assert isinstance(task, Task)
    assert (task.splits, task.origins, task.count("train")) == (("train",), {"tales"}, None)


def test_a_prompted_task_answers_for_its_spec():
    def kind(record):
        return "kind"

    spec = make(source=Tales(train=quiz(4).train, test=quiz(4).test), collection="fairy", group=kind)
    task = Prompted(spec, PromptMode.ZS_NOOPT, template_ids=(1,))
    assert isinstance(task, Task)
    assert task.spec is spec
    assert answers(task) == (
        spec.name, spec.source, {"tales"}, PromptMode.ZS_NOOPT, "fairy", {"group": kind}, (1,), False, None, None, 4,
    )  # fmt: skip


def test_only_prompted_tasks_can_be_given_other_templates():
    task, other = Prompted(make()), Other("a")
    assert prompted((other, task, other)) == [task]
    assert as_prompted(task) is task
    assert as_prompted(other) is None
