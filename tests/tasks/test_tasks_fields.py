import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, label, text, texts

RECORD = {"a": None, "b": " two\n", "n": 3, "list": ["x ", " ", "y"], "deep": {"er": {"est": "down"}}, "": "nameless"}


def test_the_first_name_that_the_record_has_is_read():
    assert column(RECORD, "missing", "a", "n", "b") == 3
    assert column(RECORD, "deep.er.est") == "down"
    assert column({"zero": 0, "empty": ""}, "zero") == 0  # only null is as good as missing
    assert column({"zero": 0, "empty": ""}, "empty") == ""
    assert text(RECORD, "a", "b") == " two"
    assert texts(RECORD, "list") == ("x", "y")
    assert texts(RECORD, "b") == (" two",)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: column(RECORD, "c", "a"), r"no 'c' or 'a' \(its fields: , a, b, deep, list, n\)"),
        (lambda: column(RECORD, "deep.er.never"), "no 'deep.er.never'"),
        (lambda: column(RECORD, "b.er"), "no 'b.er'"),
        (lambda: column({}, "c"), r"its fields: none"),
        (lambda: text(RECORD, "n"), r"'n' must be a text, not int \(3\)"),
        (lambda: text({"b": " \n"}, "b"), "'b' is empty"),
        (lambda: texts(RECORD, "n"), "'n' must be a list of texts, not 3"),
        (lambda: texts({"l": ["x", 1]}, "l"), "'l' must be a list of texts"),
        (lambda: texts({"l": {"x": "y"}}, "l"), "'l' must be a list of texts"),
        (lambda: texts({"l": [" "]}, "l"), "'l' holds no text"),
    ],
)
def test_what_is_not_there_or_no_text_is_named(read, message):
    with pytest.raises(UserError, match=message):
        read()


@given(st.lists(st.text("abcdefgh", min_size=1), min_size=2, max_size=5, unique=True), st.data())
def test_a_label_is_a_name_by_number_digits_or_itself(names, data):
    index = data.draw(st.integers(0, len(names) - 1))
    for value in (index, float(index), str(index), f" +{index} ", names[index]):
        assert label(value, names) == names[index]
    for unlabelled in (-1, "-1", -1.0):
        assert label(unlabelled, names) is None


def test_a_truth_value_is_the_label_of_two():
    assert [label(value, ("no", "yes")) for value in (True, False, "True", " false")] == ["yes", "no", "yes", "no"]
    assert label("1", ("0", "1", "2")) == "1"  # a name comes before a number
    assert label("1", ("1", "0")) == "1"
    for value in (True, "true"):
        with pytest.raises(UserError, match="is none of a, b, c"):
            label(value, ("a", "b", "c"))


@pytest.mark.parametrize(
    "value", [2, -2, "2", "--1", "-", "1.5", 0.5, float("nan"), float("inf"), "Yes", "", None, [0]]
)
def test_what_is_no_label_is_refused(value):
    with pytest.raises(UserError, match="is none of no, yes, nor a number from 0 to 1"):
        label(value, ("no", "yes"))
