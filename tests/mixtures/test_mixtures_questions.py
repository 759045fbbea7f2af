"""Reading questions, choices and answers from the shapes in which records are published."""

import json

import pytest

from flan_jax.data.sources.published import set_source_dir
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.testing.records import good_records
from mixtures.flan2021.conversational_qa import QUAC
from mixtures.questions import (
    accepted_answers,
    choice_slots,
    labelled_choices,
    lettered_choices,
    place_of,
    texts_in_order,
)


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["by barge", "a barge", "by barge"], "answer_start": [3, 6, 3]},
        [{"text": "by barge", "answer_start": 3}, {"text": "a barge", "answer_start": 6}],
    ],
)
def test_answers_are_read_from_lists_and_from_objects_each_once(answers):
    assert accepted_answers({"answers": answers}) == ("by barge", "a barge")


def test_no_answer_is_told_from_no_column():
    assert accepted_answers({"answers": {"text": [], "answer_start": []}}) == ()
    with pytest.raises(UserError, match="'answers'"):
        accepted_answers({"question": "Why?"})


def test_a_choice_that_is_listed_twice_is_shown_once_and_stays_the_answer():
    slots = choice_slots(["oven", "hallway", "oven", "attic"], 2)
    assert slots == {"choices": ("oven", "hallway", "attic"), "answer": "oven", "others": "hallway; attic"}


@pytest.mark.parametrize("place", [4, -1, True, "1", None])
def test_a_place_without_a_choice_is_refused(place):
    with pytest.raises(UserError, match="from 0 to 3"):
        choice_slots(["a", "b", "c", "d"], place)


def test_labels_find_their_choice_whatever_they_are_called():
    labels, choices = labelled_choices({"label": ["1", "2"], "text": ["ice", "steam"]})
    assert choices[place_of("2", labels)] == "steam"
    labels, choices = labelled_choices([{"label": "A", "text": "ice"}, {"label": "B", "text": "steam"}])
    assert choices[place_of("B", labels)] == "steam"
    assert place_of("", labels) is None
    with pytest.raises(UserError, match="'E' is none of A, B"):
        place_of("E", labels)


def test_choices_that_cannot_be_counted_are_refused():
    with pytest.raises(UserError, match="blank"):
        texts_in_order({"choices": ["ice", " ", "steam"]}, "choices")
    with pytest.raises(UserError, match="not written as"):
        lettered_choices("ice or steam")
    with pytest.raises(UserError, match="2 labels for 1 texts"):
        labelled_choices({"label": ["A", "B"], "text": ["ice"]})


def rendered(task, record):
    return Renderer(Prompted(TASKS.get(task), PromptMode.ZS_OPT))(record, index=0, template_id=0)


def test_records_without_a_usable_answer_are_left_out():
    three = {"question": "What melts?", "choices": {"text": ["ice", "iron", "oil"], "label": ["A", "B", "C"]}}
    assert rendered("arc_easy", {**three, "answerKey": "A"}) is None
    assert (
        rendered("trivia_qa", {"question": "Who?", "answer": {"value": "<unk>", "normalized_value": "<unk>"}}) is None
    )
    twice = {"context": "Mo won.", "question": "How does Mo feel?", "answerA": "glad", "answerB": "glad"}
    assert rendered("siqa", {**twice, "answerC": "glad", "label": "2"}) is None


def test_several_numbers_in_drop_are_alternatives_and_several_spans_one_answer():
    record = {"passage": "A and B met twice.", "question": "Which?"}
    spans = {"spans": ["A", "B"], "types": ["span", "span"]}
    numbers = {"spans": ["2", "two", "2"], "types": ["number", "span", "number"]}
    assert rendered("drop", {**record, "answers_spans": spans}).targets == "A, B"
    assert rendered("drop", {**record, "answers_spans": numbers}).references == ("2", "two")


def dialogue(*pairs):
    return {
        "wikipedia_page_title": "Arle",
        "background": "The Arle is a river.",
        "context": "It is forty miles long. CANNOTANSWER",
        "questions": [question for question, _ in pairs],
        "orig_answers": {"texts": [answer for _, answer in pairs], "answer_starts": [0 for _ in pairs]},
    }


@pytest.fixture
def quac(tmp_path):
    """Writes ``quac/test.jsonl`` and reads the task from there."""

    def write(*records):
        folder = tmp_path / "quac"
        folder.mkdir()
        (folder / "test.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        set_source_dir(tmp_path)
        return QUAC.source

    yield write
    set_source_dir(None)


def test_a_dialogue_becomes_one_record_a_question(quac):
    source = quac(dialogue(("How long?", "forty miles"), ("How wide?", "CANNOTANSWER")), dialogue(("Where?", "no one")))
    records = list(source.records("test"))
    assert [record["question"] for record in records] == ["How long?", "How wide?", "Where?"]
    slots = [QUAC.fields(record) for record in records]
    assert [slot["answer"] for slot in slots] == ["forty miles", "unanswerable", "no one"]
    assert slots[0]["context"] == "It is forty miles long."


def test_a_broken_dialogue_is_told_of_and_passed_over(quac):
    broken = {**dialogue(("How long?", "forty miles")), "questions": ["How long?", "How wide?"]}
    source = quac(broken, dialogue(("Where?", "here")))
    told = []
    assert [record["question"] for record in good_records(source, "test", told)] == ["Where?"]
    assert "2 questions and 1 answers" in str(told[0])
    with pytest.raises(UserError, match="2 questions and 1 answers"):
        list(source.records("test"))


def test_questions_are_counted_before_anything_is_read():
    assert [QUAC.source.count(split) for split in ("train", "validation", "test")] == [30_000, 200, 7_354]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "train", "test"),
    [
        ("openbookqa", 1800, 500),
        ("bool_q", 1800, 500),
        ("natural_questions", 1800, 500),
        ("arc_challenge", 695, 400),
        ("arc_easy", 1779, 400),
        ("xquad_en", 621, 500),
        ("strategyqa", 1800, 229),
        ("commonsenseqa", 1800, 500),
        ("siqa", 1308, 500),
        ("aqua", 229, 254),
        ("svamp", 630, 300),
    ],
)
def test_every_published_record_renders(realdata, task, train, test):
    set_source_dir(realdata / "nlp_clusters")
    try:
        render = Renderer(Prompted(TASKS.get(task)))
        counts = [
            sum(
                render(record, index=index) is not None
                for index, record in enumerate(render.task.spec.source.records(s))
            )
            for s in ("train", "test")
        ]
    finally:
        set_source_dir(None)
    assert counts == [train, test]
