"""The catalogue: one meaning a name, in a fixed order, and neighbours for names that are not there."""

import pytest
from task_toys import make

from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS, Registry


def test_names_come_sorted_whatever_was_registered_first():
    registry = Registry("color")
    for name in ("red", "blue", "green"):
        assert registry.add(name, name.upper()) == name.upper()
    assert list(registry) == ["blue", "green", "red"]
    assert (len(registry), "red" in registry, "RED" in registry) == (3, True, False)
    assert registry.get("green") == "GREEN"


def test_a_name_has_one_meaning_and_may_be_registered_again_with_it():
    registry = Registry("task")
    assert registry.add("quiz", make()) == registry.add("quiz", make())
    with pytest.raises(UserError, match="The task 'quiz' is registered already"):
        registry.add("quiz", make(title="other"))
    assert registry.get("quiz") == make()


def test_what_is_not_there_is_said_with_its_kind_a_neighbour_and_the_remedy():
    registry = Registry("color", remedy="Mix it.")
    registry.add("blue", 1)
    with pytest.raises(UserError, match=r"Unknown color 'bleu'.*Did you mean 'blue'.*Mix it\."):
        registry.get("bleu")
    with pytest.raises(UserError, match=r"Unknown task 'no such task'.*`flan-jax tasks` lists them"):
        TASKS.get("no such task")
