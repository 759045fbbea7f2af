import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_toys import make

from flan_jax.tasks.spec import Parts, Template
from flan_jax.tasks.template_lint import MOST_INVERTED, pieces, review, similarity

GOOD = (
    Template("Here is a question: {question}\n\n{options}"),
    Template('How would you answer "{question}"?'),
    Template("{question} … (in a word)"),
    Template("Wait... {question}\nThink of “{why}” first!\n{options}"),
    Template("Because of {why}, somebody said: {answer}. What was asked?", "{question}", inverted=True),
)


def test_good_templates_give_no_finding():
    assert review(make(templates=GOOD)) == []


@pytest.mark.parametrize(
    ("bad", "finding"),
    [
        (Template("Say <{question}>"), "'<' is not in T5's vocabulary"),
        (Template("{question}\tSo?"), r"'\t' is not in T5's vocabulary"),
        (Template("{{question}}: {question}"), "'{' is not in T5's vocabulary"),
        (Template("{why} `so`", "{question}", inverted=True), "'`' is not in T5's vocabulary"),
        (Template("{question} Choose from\n{options}"), "'Choose from' announces options"),
        (Template("{question} Which of these is it?"), "'Which of these' announces options"),
        (Template("{question} The options:"), "'options' announces options"),
        (Template("{question} (A) or not?"), "'(A)' announces options"),
        (Template("{question}  So?"), "'  ' in its text: doubled, stray or trailing"),
        (Template("{question} , so?"), "' , ' in its text"),
        (Template("{question} \nSo?"), r"' \n' in its text"),
        (Template("{question}..\nSo?"), "'..' in its text"),
        (Template("So,, {question}"), "',,' in its text"),
        (Template("So?? {question}"), "'??' in its text"),
        (Template("So “{question}, or?"), "quotation marks or brackets are not balanced"),
        (Template('So "{question}, or?'), "quotation marks or brackets are not balanced"),
        (Template("So ({question}, or?"), "quotation marks or brackets are not balanced"),
        (Template("{question}\n\n{why}\nSo?"), "{question} and {why} run into each other where line ends are dropped"),
        (Template("{why} was told of {question}. Ask!", "{question}", inverted=True), "it shows {question}, which it asks for"),
        (Template("They said {answer} {why}!", "{answer}?", inverted=True), "it shows {answer}, which it asks for"),
    ],
)  # fmt: skip
def test_each_fault_is_found_by_itself(bad, finding):
    found = review(make(templates=(*GOOD, bad)))
    assert len([line for line in found if finding in line]) == 1, found
    assert all(line.startswith("quiz, template 5: ") for line in found)


@dataclasses.dataclass(frozen=True)
class Said:
    """A template in a language of its own."""

    inverted: bool = False

    def render(self, record):
        return Parts(record["x"], record["y"])


def test_templates_in_a_language_of_their_own_are_not_read():
    templates = (Said(), *[Said(inverted=True)] * (MOST_INVERTED + 1))
    assert review(make(templates=templates, slots=(), answer="", options=(), rationale="", cot_templates=())) == []


def test_the_answer_goes_by_two_names():
    changes = {"slots": ("question", "label", "why"), "answer": "label"}
    bad = Template("{label} for {why}!", "{answer}", inverted=True)
    (found,) = review(make(templates=(Template("So: {question}", "{label}"), bad), **changes))
    assert "shows {label}, which it asks for" in found


def test_words_for_options_are_no_fault_where_nothing_is_listed():
    words = (Template("Which of these words is meant? {question}"),)
    assert review(make(templates=words, options=(), predict="generate")) == []
    assert (
        review(make(templates=(*GOOD, Template("Given the choices: {answer}. Ask!", "{question}", inverted=True))))
        == []
    )


def test_templates_that_say_the_same_are_found_among_their_kind():
    (found,) = review(make(templates=(*GOOD, Template("Here is the question: {question}"))))
    assert found == "quiz, templates 0 and 5 say nearly the same (0.80 alike)."
    other_target = Template("Here is a question: {why}", "{question}", inverted=True)
    assert review(make(templates=(*GOOD, other_target))) == []
    reasons = (
        Template("Think now of {question}", "{why} {answer}"),
        Template("Think  of {question}", "{why} {answer}"),
    )
    assert [line[:34] for line in review(make(templates=GOOD, cot_templates=reasons))] == [
        "quiz, reasoning template 1: '  ' i"
    ]
    reasons = (reasons[0], Template("Think, now, of: {question}!", "{why} {answer}"))
    assert review(make(templates=GOOD, cot_templates=reasons)) == [
        "quiz, reasoning templates 0 and 1 say nearly the same (1.00 alike)."
    ]


def test_more_inverted_templates_than_flan_has_are_counted():
    asks = [Template(f"{word * 3} {{answer}}", "{question}", inverted=True) for word in "abcde"]
    assert not [
        line for line in review(make(templates=(*GOOD[:4], *asks[:MOST_INVERTED]))) if "inverted templates" in line
    ]
    found = [line for line in review(make(templates=(*GOOD[:4], *asks))) if "inverted templates" in line]
    assert found == ["quiz has 5 inverted templates; FLAN has 4 at most."]


class _Own:
    inverted = False

    def render(self, record):
        return Parts("a  <", "b")


def test_templates_of_another_language_are_not_read():
    assert review(make(templates=(_Own(),), slots=(), answer="", options=(), rationale="", cot_templates=())) == []


words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


@given(words, words, words)
def test_similarity_is_one_less_a_distance(one, other, third):
    texts = [" ".join(some) for some in (one, other, third)]

    def distance(i, j):
        return (1 - similarity(texts[i], texts[j])) * max(len(texts[i].split()), len(texts[j].split()))

    assert similarity(texts[0], texts[0]) == 1
    assert distance(0, 1) == pytest.approx(distance(1, 0))
    assert distance(0, 2) <= distance(0, 1) + distance(1, 2) + 1e-9
    assert abs(len(one) - len(other)) - 1e-9 <= distance(0, 1) <= max(len(one), len(other)) + 1e-9
    assert (similarity(texts[0], texts[1]) == 1) == (one == other)


def test_slots_are_one_word_whatever_their_name_and_options_are_none():
    assert similarity("Is {a} so?", "is {b} SO!") == 1
    assert similarity("Is {a} so?\n{options}", "Is {a} so?") == 1
    assert similarity("a b c d", "a x c d e") == pytest.approx(0.6)
    assert pieces("{a}{b} end") == [("", "a"), ("", "b"), (" end", "")]
