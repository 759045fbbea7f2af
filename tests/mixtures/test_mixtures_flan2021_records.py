"""What the fields of Flan 2021's sentence-pair, common sense and coreference tasks make of published records."""

import pytest

from flan_jax.data.sources.published import set_source_dir
from flan_jax.errors import UserError
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted
from mixtures.choices import chosen
from mixtures.flan2021.common_sense import COPA, HELLASWAG, STORY_CLOZE
from mixtures.flan2021.coreference import WINOGRANDE, WSC, WSC273
from mixtures.flan2021.entailment import ANLI_R1, CB, MNLI_MATCHED, MNLI_MISMATCHED, QNLI, RTE, SNLI, WNLI
from mixtures.flan2021.paraphrase import GLUE_QQP, STSB
from mixtures.flan2021.read_comp_and_common_sense import COSMOS_QA, RECORD

PAIR = {"premise": "It rains.", "hypothesis": "It is wet."}


@pytest.mark.parametrize(
    ("spec", "answers"),
    [
        (SNLI, ["yes", "it is not possible to tell", "no"]),
        (ANLI_R1, ["Yes", "It's impossible to say", "No"]),
        (CB, ["Yes", "No", "It's impossible to say"]),  # its labels stand in another order
        (RTE, ["yes", "no"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_labels_are_counted_in_each_data_sets_own_order(spec, answers):
    assert [spec.fields({**PAIR, "label": index})["answer"] for index in range(len(answers))] == answers
    assert spec.fields({**PAIR, "label": -1}) is None
    with pytest.raises(UserError, match="is none of"):
        spec.fields({**PAIR, "label": len(answers)})


@pytest.mark.parametrize(
    ("value", "grade"),
    [(0.0, "0"), (0.4, "0"), (0.5, "0"), (1.5, "2"), (2.5, "2"), (3.6, "4"), ("4.500", "4"), (5.0, "5")],
)
def test_a_similarity_is_rounded_to_a_grade(value, grade):
    assert STSB.fields({"sentence1": "a", "sentence2": "b", "label": value})["answer"] == grade


def test_a_similarity_off_the_scale_is_refused():
    record = {"sentence1": "a", "sentence2": "b"}
    assert STSB.fields({**record, "label": -1.0}) is None
    for value in (5.1, "much", float("nan"), [3]):
        with pytest.raises(UserError, match="similarity"):
            STSB.fields({**record, "label": value})


def test_doubled_quotation_marks_are_single_ones():
    slots = GLUE_QQP.fields({"question1": 'What is ""art""?', "question2": 'Is "art" a word?', "label": 0})
    assert (slots["question1"], slots["question2"]) == ("What is 'art'?", 'Is "art" a word?')


def test_choices_that_read_the_same_cannot_be_right():
    assert chosen(("a", "a"), 0) is None
    assert chosen(("a", "b"), "") is None
    assert chosen(("a", "b"), -1) is None
    assert chosen(("1", "0"), "1")["answer"] == "0"  # the label counts; it does not name
    with pytest.raises(UserError):
        chosen(("a", "b"), 2)


def test_a_premise_leads_over_to_its_cause_or_effect():
    record = {"premise": "It rained.", "choice1": "x", "choice2": "y", "label": 1}
    assert COPA.fields({**record, "question": "effect"})["opening"] == "It rained, so"
    assert COPA.fields({**record, "question": "cause"})["opening"] == "It rained because"


def test_the_marks_of_a_how_to_article_are_taken_out():
    record = {
        "ctx": "[header] How to nap [title] Lie down. [step] Close your eyes.",
        "endings": ["[step] Sleep. [substeps] Dream.", "Run."],
        "activity_label": "Health",
        "label": "0",
    }
    slots = HELLASWAG.fields(record)
    assert slots["context"] == "How to nap\nLie down.\nClose your eyes."
    assert slots["answer"] == "Sleep. Dream."
    assert HELLASWAG.fields({**record, "label": ""}) is None


def test_a_story_counts_its_endings_from_1():
    record = {f"input_sentence_{number}": f"S{number}." for number in range(1, 5)}
    record |= {"sentence_quiz1": "one", "sentence_quiz2": "two"}
    slots = STORY_CLOZE.fields({**record, "answer_right_ending": 2})
    assert (slots["context"], slots["answer"]) == ("S1. S2. S3. S4.", "two")
    with pytest.raises(UserError):
        STORY_CLOZE.fields({**record, "answer_right_ending": 3})


@pytest.mark.parametrize(
    ("one", "other", "rest", "sentence", "choices"),
    [
        ("Al saw Bo so Al", "Al saw Bo so Bo", "ran.", "Al saw Bo so _____ ran.", ("Al ran.", "Bo ran.")),
        (
            "The car, the car",
            "The car, the car park",
            "'s lot.",
            "The car, the _____'s lot.",
            ("car's lot.", "car park's lot."),
        ),
        ("Sam hid as Sam", "Sam hid as Sally", ", too.", "Sam hid as _____, too.", ("Sam, too.", "Sally, too.")),
    ],
)
def test_a_gap_is_found_where_two_sentences_part(one, other, rest, sentence, choices):
    slots = WINOGRANDE.fields({"context_options": [one, other], "continuation": rest, "gold": 1})
    assert (slots["sentence"], slots["choices"], slots["answer"]) == (sentence, choices, choices[1])


def test_a_gap_is_read_as_the_hub_and_as_tfds_have_it():
    record = {"sentence": "Al saw Bo since _'s hat shone.", "option1": "Al", "option2": "Bo"}
    assert WINOGRANDE.fields({**record, "answer": "1"})["answer"] == "Al's hat shone."
    assert WINOGRANDE.fields({**record, "label": 1})["answer"] == "Bo's hat shone."
    assert WINOGRANDE.fields({**record, "answer": ""}) is None
    for answer in ("0", "3"):
        with pytest.raises(UserError):
            WINOGRANDE.fields({**record, "answer": answer})


@pytest.mark.parametrize(
    ("text", "pronoun", "options", "choices"),
    [
        ("A saw B. He ran.", "He", ["the man", "The boy"], ("The man ran.", "The boy ran.")),
        ("A saw B as he ran.", "he", ["The man", "Bo"], ("the man ran.", "Bo ran.")),
        ("A saw B in his car.", "his", ["The man", "Bo"], ("the man's car.", "Bo's car.")),
    ],
)
def test_a_candidate_fits_in_the_pronouns_place(text, pronoun, options, choices):
    record = {"text": text, "pronoun": pronoun, "pronoun_loc": text.index(f" {pronoun} ") + 1}
    slots = WSC273.fields({**record, "options": options, "label": 1})
    assert (slots["choices"], slots["answer"]) == (choices, choices[1])
    with pytest.raises(UserError, match="pronoun"):
        WSC273.fields({**record, "pronoun_loc": 0, "options": options, "label": 1})


def test_every_answer_of_a_cloze_query_is_accepted():
    record = {
        "passage": "Ann Li won.\n@highlight\nLi won",
        "query": "They praised @placeholder again.",
        "entities": ["Ann Li", "Li", "Rome"],
        "answers": ["Li", "Ann Li", "Li"],
    }
    slots = RECORD.fields(record)
    assert slots["passage"] == "Ann Li won."
    assert slots["statement"] == "They praised _____ again."
    assert slots["answer"] == ("Li again.", "Ann Li again.")
    assert slots["endings"] == ("Ann Li again.", "Li again.", "Rome again.")
    assert RECORD.fields({**record, "answers": []}) is None


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        (MNLI_MATCHED, (1800, 200, 500)),
        (MNLI_MISMATCHED, (1800, 200, 500)),
        (QNLI, (1800, 200, 500)),
        (SNLI, (1800, 200, 500)),
        (WNLI, (572, 63, 71)),
        (STSB, (1800, 200, 500)),
        (COPA, (58, 6, 100)),
        (COSMOS_QA, (1800, 200, 500)),
        (WINOGRANDE, (691, 76, 500)),
        (WSC, (58, 6, 104)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_published_copy_renders_whole(spec, counts, realdata):
    set_source_dir(realdata / "nlp_clusters")
    try:
        assert spec.source.local() is not None
        found = tuple(sum(1 for _ in render_split(Prompted(spec), split)) for split in ("train", "validation", "test"))
    finally:
        set_source_dir(None)
    assert found == counts
