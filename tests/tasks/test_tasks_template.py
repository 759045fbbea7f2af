import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.template import Template, slots_of


def test_slots_stand_in_the_order_in_which_they_are_first_used():
    assert slots_of("{b} and {a}, {b} {{not}} this") == ("b", "a")
    assert Template("{x} {options}", "{answer} {x}").slots == ("x", "options", "answer")
    assert slots_of("none") == ()


@pytest.mark.parametrize("text", ["{}", "{0}", "{a.b}", "{a[0]}", "{a:>9}", "{a!r}", "{a b}", "{a:{b}}"])
def test_a_slot_is_a_plain_name(text):
    with pytest.raises(UserError, match="is not a plain name"):
        slots_of(text)


@pytest.mark.parametrize("text", ["{a", "a}", "{a}}", "{{a}"])
def test_unbalanced_braces_are_refused(text):
    with pytest.raises(UserError, match="unbalanced braces"):
        slots_of(text)
