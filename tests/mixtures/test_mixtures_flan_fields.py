"""The slots that FLAN's published templates are filled with: what FLAN's own preprocessors give for these records.

Its slips are among them. ``tools/compare_flan.py`` runs that code over like records and compares every string.
"""

import json
import re
from pathlib import Path

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.rendering.slots import accepted_answers
from mixtures.flan2021.collection import CLUSTERS
from mixtures.flan_fields import PUBLISHED

RECORDS = Path(__file__).parent / "records"


def slots(task, record, code="flan2021"):
    (fields,) = (one for one in TASKS.get(task).published if one.name == code)
    return fields.fields(record)


def both(task, record):
    return slots(task, record), slots(task, record, "flan2022")


@pytest.mark.parametrize(
    ("task", "record", "expected"),
    [
        (
            "bool_q",
            {"question": "is it so", "passage": " A -- b ", "title": "A", "answer": True},
            {"question": "is it so", "text": " A -- b ", "title": "A", "answer": "yes"},
        ),
        ("natural_questions", {"question": "who was it", "answer": ["a", "b"]}, {"question": "who was it?"}),
        (
            "dart",
            {"tripleset": ["A_b | AREA | [TABLECONTEXT]", "C | D | e"], "target": "t", "references": []},
            {
                "tripleset": "A_b | AREA | ; C | D | e",
                "tripleset_newline": "A_b | AREA | [TABLECONTEXT]\nC | D | e",
                "target": ("t",),
            },
        ),
        (
            "web_nlg_en",
            {"input": ["A_b | hasPart | C_d", "E | f | g"], "target": "t", "references": ["u", "t"]},
            {"input_string": "A b, hasPart, C d; E, f, g", "target": ("t", "u")},
        ),
        (
            "e2e_nlg",
            {"meaning_representation": "name[The Eagle], area[city centre]", "target": "t", "references": []},
            {"meaning_representation": "name = The Eagle, area = city centre"},
        ),
        (
            "common_gen",
            {"concepts": ["dog", "run"], "target": "A dog runs.", "references": []},
            {"concepts": "dog, run", "concepts_newline": "dog\nrun"},
        ),
        (
            "multi_news",
            {"document": " A.\n||||| B.", "summary": "– C. "},
            {"text": " A.\n||||| B.", "summary": "– C. "},
        ),
        (
            "openbookqa",
            {
                **{"question_stem": "What do bees make?", "fact1": "bees make honey", "answerKey": "B"},
                "choices": {"label": list("ABCD"), "text": ["wax", "honey", "silk", "milk"]},
            },
            {"question": "What do bees make?", "fact": "bees make honey", "answer": "honey"},
        ),
        ("stsb", {"sentence1": "a", "sentence2": "b", "label": 2.5}, {"answer": "2", "answer_str": "2"}),
        ("sentiment140", {"text": "so so", "polarity": 2}, {"answer": "negative"}),
        ("true_case", {"en": "Été À Paris"}, {"lower": "Été À paris"}),
        ("fix_punct", {"en": "Café, 3 o'clock!"}, {"no_punct": "Caf 3 oclock"}),
        ("hellaswag", {
            **{"ctx": "[header] How to [step] Do it", "endings": ["[substeps] a", "b", "c", "d"]},
            **{"label": "0", "activity_label": "x"},
        }, {"context": "How to \nDo it", "answer": "a"}),
        ("yelp_polarity_reviews", {"text": 'a \\""b\\"" c\\nd', "label": 1}, {"text": 'a "b" c d'}),
        (
            "record",
            {
                **{"query": "It was @placeholder who won. ", "passage": "P\n@highlight\nQ"},
                **{"entities": ["Ann", "Bo"], "answers": ["Bo"]},
            },
            {
                **{"query": "It was", "passage": "P", "choices": ("Ann who won. ", "Bo who won. ")},
                **{"answer": ("Bo who won. ",), "options_str": "OPTIONS:\n- Ann who won. \n- Bo who won. "},
            },
        ),
        (
            "wsc273",
            {"text": "I told that it was late. ", "pronoun_loc": 12, "pronoun": "it", "options": ["a", "b"], "label": 1},
            {"context": "I told that", "choices": ("a was late.", "b was late."), "answer": "b was late."},
        ),
        ("samsum", {"dialogue": "A: hi\r\n<file_gif> x>\nB", "summary": "s"}, {"dialogue": "A: hi\n \nB"}),
        ("wmt16_translate_deen", {"en": " a ", "de": " b "}, {"sent1": " a ", "sent2": " b ", "lang2": "German"}),
        (
            "opinion_abstracts_rotten_tomatoes",
            {"_movie_name": "the_last", "_critic_consensus": "c", "_critics": {"1": "x", "2": "y"}},
            {"movie": "the last", "first_review": "x", "numbered_reviews": "1. x\n2. y"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_both_versions_of_the_code_give_the_same(task, record, expected):
    for made in both(task, record):
        assert {name: made[name] for name in expected} == expected


def test_options_stand_in_flans_order():
    options = {task: PUBLISHED[task][0].options for task in ("cb", "anli_r1", "rte", "wnli")}
    assert options["cb"] == ("Yes", "No", "It's impossible to say")
    assert options["anli_r1"] == ("Yes", "It's impossible to say", "No")
    assert slots("cb", {"premise": "p", "hypothesis": "h", "label": 1})["answer"] == "No"
    assert (options["rte"], options["wnli"]) == (("yes", "no"), ("no", "yes"))


def test_where_the_versions_of_the_code_differ():
    article = {"article": "Day: 3 May 2013 . Text) -- More", "highlights": "A .\nB ."}
    old, new = both("cnn_dailymail", article)
    assert (old["text"], old["highlights"]) == ("Day: 3 May ", "A .\nB .")
    assert (new["text"], new["highlights"]) == ("More", "A. B.")

    turn = {
        "title": "T",
        "background": "b",
        "context": "c CANNOTANSWER",
        "question": "q",
        "orig_answer": {"text": "a "},
    }
    old, new = both("quac", turn)
    assert (old["context"], old["answer"]) == ("c CANNOTANSWER", "a ")
    assert (new["context"], new["answer"]) == ("c", "a")
    nothing = {**turn, "orig_answer": {"text": "CANNOTANSWER"}}
    assert slots("quac", nothing)["answer"] == "CANNOTANSWER"
    assert slots("quac", nothing, "flan2022") is None

    spans = {"span1_text": "Ann", "span2_text": "she", "span2_index": 3}
    old, new = both("wsc", {"text": "Ann said that she slept.", **spans, "label": 1})
    assert (old["context"], new["context"]) == ("Ann said that she slept.", "Ann said that *she* slept.")
    assert old["text1"] == new["text1"] == "Ann"


def test_every_task_of_the_public_code_has_its_slots_in_both_versions():
    assert set(PUBLISHED) == {task for tasks in CLUSTERS.values() for task in tasks} | {"wsc273"}
    for task, views in PUBLISHED.items():
        assert [view.name for view in views] == ["flan2021", "flan2022"]
        assert TASKS.get(task).published == views


def given_records():
    for path in sorted(RECORDS.rglob("*.json")):
        for task, records in json.loads(path.read_text(encoding="utf-8")).items():
            if task in TASKS and TASKS.get(task).published:
                yield from ((task, record) for record in records)


def test_every_published_copy_of_a_record_has_its_slots():
    """Over the invented records in the columns of every copy: what ours reads, FLAN's slots are made of too."""
    seen = set()
    for task, record in given_records():
        spec = TASKS.get(task)
        for fields in spec.published:
            made = fields.fields(record)
            unanswered = task == "quac" and fields.name == "flan2022"
            assert (made is None) == (spec.fields(record) is None) or unanswered, (task, record)
            if made is None:
                continue
            seen.add(task)
            answers = accepted_answers(made[fields.answer])
            assert answers[0].strip()
            if fields.options:
                assert set(answers) <= set(made[fields.options] if isinstance(fields.options, str) else fields.options)
            missing = {name for name in fields.slots if made[name] is None}
            assert missing <= {"title", "fact"}, (task, missing)
    assert {task for tasks in CLUSTERS.values() for task in tasks} <= seen


def test_a_wsc_pronoun_is_marked_only_once():
    text = "When X met Y , he left"
    spans = {"span1_text": "X", "span2_text": "he", "span2_index": 5}
    made = slots("wsc", {"text": text, **spans, "label": 0}, "flan2022")
    assert len(re.findall(r"\*he\*", made["context"])) == 2  # as there: a word "X" of the text is taken for the mark
