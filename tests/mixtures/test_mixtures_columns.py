"""Columns that published copies of one data set write differently, and records that are no examples."""

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted
from mixtures.open_tasks.topic_classification import SHOWN


def slots(task, **record):
    return TASKS.get(task).fields(record)


def test_neutral_tweets_are_left_out():
    answers = [slots("sentiment140", text="t", sentiment=step) for step in range(5)]
    assert [found and found["answer"] for found in answers] == ["negative", "negative", None, "positive", "positive"]
    assert slots("sentiment140", text="t", polarity=4)["answer"] == "positive"


def test_marks_of_other_formats_are_taken_out_of_reviews():
    assert slots("imdb_reviews", text="Good.<br /><br />Bad.", label=0)["text"] == "Good.\n\nBad."
    assert slots("yelp_polarity_reviews", text='He said \\""no\\"".\\nFine.', label=1)["text"] == 'He said "no". Fine.'


def test_question_kinds_are_numbered_in_two_ways():
    assert slots("trec", text="q", coarse_label=0)["answer"] == "abbreviation"
    assert slots("trec", **{"text": "q", "label-coarse": 0})["answer"] == "description"
    with pytest.raises(UserError, match="'coarse_label' or 'label-coarse'"):
        slots("trec", text="q", label=0)


def test_verses_are_labelled_in_two_ways():
    original = [slots("poem_sentiment", verse_text="v", label=value)["answer"] for value in ("-1", "0", "1", "2")]
    hub = [slots("poem_sentiment", verse_text="v", label=value)["answer"] for value in range(4)]
    assert original == ["negative", "neutral", "positive", "mixed"]
    assert hub == ["negative", "positive", "neutral", "mixed"]


def test_an_intent_stands_among_others_at_a_place_that_tells_nothing():
    places = set()
    for n in range(60):
        found = slots("banking77", text=f"message {n}", category="card_arrival")
        assert found == slots("banking77", text=f"message {n}", label=11)
        assert len(set(found["choices"])) == SHOWN
        places.add(found["choices"].index("card arrival"))
    assert len(places) == SHOWN
    assert slots("clinc150", text="x", intent=42) is None  # out of scope
    assert slots("clinc150", text="x", intent="pto_used")["answer"] == "paid time off used"


def test_the_pronoun_is_marked_where_it_stands():
    record = {"Text": "Ada met her aunt when Eve saw her.", "Pronoun": "her", "A": "Ada", "B": "Eve"}
    found = slots("gap", **record, **{"Pronoun-offset": "30", "A-coref": "TRUE", "B-coref": "FALSE"})
    assert found["text"] == "Ada met her aunt when Eve saw [her]."
    assert (found["answer"], found["choices"]) == ("Ada", ("Ada", "Eve", "neither"))
    assert slots("gap", **record, **{"Pronoun-offset": 8, "A-coref": False, "B-coref": False})["answer"] == "neither"
    with pytest.raises(UserError, match="'her' is not at its offset 9"):
        slots("gap", **record, **{"Pronoun-offset": 9, "A-coref": True, "B-coref": False})


def test_people_at_work_are_read_from_marks_and_from_tokens():
    line = slots("winobias", line="The CEO paid [the construction worker] because [he] had done [his] job.")
    assert line["sentence"] == "The CEO paid the construction worker because he had done his job."
    assert (line["pronoun"], line["answer"]) == ("he", "the construction worker")
    assert line["choices"] == ("the CEO", "the construction worker")
    tokens = ["The", "CEO", "paid", "the", "construction", "worker", "because", "he", "had", "done", "his", "job", "."]
    assert slots("winobias", tokens=tokens, coreference_clusters=["3", "5", "7", "7", "10", "10"]) == line
    with pytest.raises(UserError, match="does not mark"):
        slots("winobias", line="The baker slept.")


def test_names_are_read_from_tags_as_text_and_as_numbers():
    tokens = ["Eve", "Lund", "in", "Tarn", "Hill", "!"]
    answer = "Eve Lund (person), Tarn Hill (location)"
    tags = ["B-person", "I-person", "O", "B-location,B-group", "I-location", "O"]
    assert slots("wnut17", tokens=tokens, ner_tags=tags)["answer"] == answer
    assert slots("wnut17", tokens=tokens, ner_tags=[9, 10, 0, 7, 8, 0])["answer"] == answer
    assert slots("wnut17", tokens=["hm"], ner_tags=[0])["answer"] == "none"
    with pytest.raises(UserError, match="lists of one length"):
        slots("wnut17", tokens=["hm"], ner_tags=[])


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("task", "training", "test"),
    [
        ("poem_sentiment", 892, 209),
        ("banking77", 2000, 500),
        ("clinc150", 2000, 500),
        ("gap", 2000, 500),
        ("winobias", 1584, 500),
        ("winogender", 520, 200),
        ("wnut17", 2000, 500),
        ("disfl_qa", 2000, 500),
    ],
)
def test_every_published_record_renders(realdata, monkeypatch, task, training, test):
    monkeypatch.setenv("FLAN_JAX_SOURCE_DIR", str(realdata / "nlp_clusters"))
    count = {
        split: sum(1 for _ in render_split(Prompted(TASKS.get(task)), split)) for split in TASKS.get(task).source.splits
    }
    assert count["train"] + count["validation"] == training
    assert count["validation"] == min(200, training // 10)
    assert count["test"] == test
