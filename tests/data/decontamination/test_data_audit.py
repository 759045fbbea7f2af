"""What is held out and trained on all the same is found: by data set, and by the text of records."""

import dataclasses
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepare_toys import write_lines

from flan_jax.data.decontamination.audit import (
    LONG_TEXT,
    SHARED_BY,
    SHORT_TEXT,
    audit,
    audit_key,
)
from flan_jax.data.decontamination.report import Audit, SharedRecords, SharedSource
from flan_jax.data.instructions.source import instruction_source
from flan_jax.data.instructions.task import instruction_task
from flan_jax.data.sources.generated import generated
from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.sources.published import published
from flan_jax.tasks.invert import inverted
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.spec import Prompted, TaskSpec, Template
from flan_jax.tasks.task import BaseTask

LONG = "The mayor of Brindle opened a new bridge over the Ash on Monday morning."
WORDS = [f"{first}{last}" for first in "bdfgklmn" for last in ("ar", "el", "id", "on", "um", "ast", "ent", "ing")]


def pairs(count, seed):
    """Records of long premises and short claims, no two alike."""
    draw = random.Random(seed)
    return [
        {
            "premise": " ".join(draw.choices(WORDS, k=14)),
            "hypothesis": " ".join(draw.choices(WORDS, k=4)),
            "label": "yes",
        }
        for _ in range(count)
    ]


def inference(path, name="rte", **changes):
    values = {
        "name": name, "cluster": "entailment", "source": jsonl(train=path, test=path), "fields": dict,
        "slots": ("premise", "hypothesis", "label"), "answer": "label", "options": ("yes", "no"),
        "templates": (Template("{premise} {hypothesis}"),),
    }  # fmt: skip
    return Prompted(TaskSpec(**{**values, **changes}))


def reading(path, name="reader", **changes):
    """The same texts under other names, inside lists, with a question of its own."""
    return inference(
        path, name,
        fields=lambda record: {"passage": record["document"]["text"], "question": record["q"], "label": record["a"]},
        slots=("passage", "question", "label"), cluster="reading", options=(), predict="generate",
        templates=(Template("{passage} {question}"),), **changes,
    )  # fmt: skip


def document(text, question="What happened?", answer="a bridge"):
    return {"document": {"text": text}, "q": question, "a": answer}


@pytest.fixture
def files(tmp_path):
    write_lines(tmp_path / "test.jsonl", pairs(20, 0))
    write_lines(
        tmp_path / "other.jsonl", [document(" ".join(random.Random(100 + i).choices(WORDS, k=20))) for i in range(30)]
    )
    return tmp_path


def test_clean_tasks_are_found_clean(files):
    found = audit([reading(files / "other.jsonl")], [(inference(files / "test.jsonl"), "test")])
    assert found == Audit((), (), 20, 30)
    assert found.violation() == ""


def test_a_record_under_other_names_and_in_other_case_is_found_with_its_file_and_line(files):
    planted = pairs(20, 0)[7]
    shouted = "  " + planted["premise"].upper().replace(" ", ",\n ") + "!"
    lines = [document(" ".join(random.Random(i).choices(WORDS, k=20))) for i in range(30)]
    write_lines(files / "other.jsonl", [*lines[:11], b"", document(shouted), *lines[11:]])
    found = audit([reading(files / "other.jsonl")], [(inference(files / "test.jsonl"), "test")])
    (shared,) = found.records
    assert (shared.held_out, shared.trained, shared.records, shared.of) == ("rte", "reader", 1, 20)
    assert shared.place == f"{files / 'other.jsonl'}, line 13"
    assert shared.text == planted["premise"]
    assert found.violation() == (
        "1 of 20 records of the held-out task 'rte' are in the training data of 'reader', the first at "
        f"{files / 'other.jsonl'}, line 13: {planted['premise']!r}"
    )
    assert found.violation(tolerance=0.05) == ""
    assert found.violation(tolerance=0.049)


def test_a_short_record_is_found_whole_and_its_parts_alone_are_no_finding(files):
    short = {"premise": "It rained.", "hypothesis": "It was wet.", "label": "yes"}
    write_lines(files / "test.jsonl", [*pairs(3, 0), short])

    def found(*records):
        write_lines(files / "other.jsonl", [*pairs(3, 1), *records])
        return audit([inference(files / "other.jsonl", "twin")], [(inference(files / "test.jsonl"), "test")]).records

    assert found({**short, "hypothesis": "It was dry."}, {**short, "premise": "It snowed."}) == ()
    (shared,) = found({"premise": "it was WET", "hypothesis": "It rained", "label": "no"})  # sides and label changed
    assert (shared.records, shared.of, shared.place) == (1, 4, f"{files / 'other.jsonl'}, line 4")


def test_a_block_of_options_that_published_templates_show_is_no_part_of_a_record(files):
    short = {"premise": "It rained.", "hypothesis": "It was wet.", "label": "yes"}
    for file in ("test", "other"):
        write_lines(files / f"{file}.jsonl", [*pairs(3, len(file)), short])
    shown = inference(
        files / "test.jsonl",
        fields=lambda record: {**record, "options_": "OPTIONS:\n- yes\n- no", "options_str": "OPTIONS:\n- yes\n- no"},
        slots=("premise", "hypothesis", "label", "options_", "options_str"),
    )
    (shared,) = audit([inference(files / "other.jsonl", "twin")], [(shown, "test")]).records
    assert (shared.records, shared.of) == (1, 4)


@pytest.mark.parametrize(
    ("count", "sharing", "caught"),
    [
        (SHORT_TEXT - 1, 1, False),
        (SHORT_TEXT, 1, True),
        (SHORT_TEXT, SHARED_BY + 1, False),
        (LONG_TEXT - 1, SHARED_BY + 1, False),
        (LONG_TEXT, SHARED_BY + 1, True),
    ],
)
def test_a_text_of_ten_words_is_no_chance_and_one_of_five_is_none_where_it_tells_a_record(
    files, count, sharing, caught
):
    text = " ".join(WORDS[:count])
    held = [{"premise": text, "hypothesis": f"one {n}", "label": "yes"} for n in range(sharing)]
    write_lines(files / "test.jsonl", held)
    write_lines(files / "other.jsonl", [document(text)])
    found = audit([reading(files / "other.jsonl")], [(inference(files / "test.jsonl"), "test")])
    assert bool(found.records) == caught


def test_answers_options_and_reasons_recur_by_nature(files):
    rest = {"premise": "a b", "hypothesis": "c", "kinds": [LONG, "no"], "why": LONG + " So."}
    write_lines(files / "test.jsonl", [{**rest, "label": LONG}])
    write_lines(files / "other.jsonl", [{**rest, "premise": "d e", "label": LONG}])
    changes = {
        "slots": ("premise", "hypothesis", "label", "kinds", "why"), "options": "kinds", "rationale": "why",
        "cot_templates": (Template("{premise} {hypothesis}", "{why} {answer}"),),
    }  # fmt: skip
    held_out = [(inference(files / "test.jsonl", **changes), "test")]
    assert audit([inference(files / "other.jsonl", "twin", **changes)], held_out).records == ()
    # What is an answer there may be a text to read here.
    write_lines(files / "other.jsonl", [{**rest, "premise": LONG, "label": LONG}])
    write_lines(files / "test.jsonl", [{**rest, "premise": LONG, "label": LONG}])
    assert audit([inference(files / "other.jsonl", "twin", **changes)], held_out).records[0].records == 1


@settings(max_examples=25)
@given(st.sets(st.integers(0, 19), max_size=6), st.integers(0, 3))
def test_every_planted_record_is_counted_once(tmp_path_factory, planted, copies):
    folder = tmp_path_factory.mktemp("audit")
    held = pairs(20, 0)
    write_lines(folder / "test.jsonl", held)
    write_lines(folder / "train.jsonl", [*pairs(5, 1), *([held[i] for i in sorted(planted)] * copies)])
    write_lines(folder / "clean.jsonl", pairs(5, 2))
    trained = [inference(folder / "train.jsonl", "twin"), inference(folder / "clean.jsonl", "clean")]
    found = audit(trained, [(inference(folder / "test.jsonl"), "test")])
    count = len(planted) if copies else 0
    assert [(shared.trained, shared.records, shared.of) for shared in found.records] == [("twin", count, 20)] * bool(
        count
    )
    assert (found.held_out_records, found.trained_records) == (20, 10 + len(planted) * copies)


def test_the_worst_pair_is_the_one_told(files):
    held = pairs(20, 0)
    write_lines(files / "few.jsonl", [*pairs(3, 1), *held[:2]])
    write_lines(files / "many.jsonl", [*pairs(3, 2), *held[3:8]])
    trained = [inference(files / f"{name}.jsonl", name) for name in ("few", "many")]
    found = audit(trained, [(inference(files / "test.jsonl"), "test")])
    assert {shared.trained: shared.records for shared in found.records} == {"few": 2, "many": 5}
    assert found.violation(0.1).startswith("5 of 20 records")
    assert found.violation(0.25) == ""


def test_modes_of_one_task_are_compared_once(files):
    spec = inference(files / "test.jsonl").spec
    prompts = [Prompted(spec, mode) for mode in (PromptMode.ZS_OPT, PromptMode.ZS_NOOPT, PromptMode.FS_OPT)]
    told = []
    found = audit(prompts, [(task, "test") for task in prompts], progress=lambda *told_of: told.append(told_of))
    assert (found.held_out_records, found.trained_records) == (20, 20)
    assert told == [("rte", 20), ("rte", 20)]
    assert found.records[0].records == 20


def test_a_task_turned_around_trains_on_the_question_of_the_other(files):
    held_out = [(reading(files / "test.jsonl"), "test")]
    write_lines(files / "test.jsonl", [document(LONG, answer="bridge")])
    write_lines(files / "other.jsonl", [document(LONG, question="Why?", answer="To cross.")])
    turned = inverted(reading(files / "other.jsonl", "copy").spec, "passage", (Template("{question} {given}"),))
    (shared,) = audit([Prompted(turned)], held_out).records
    assert (shared.trained, shared.records, shared.of) == ("copy_inverted", 1, 1)
    assert shared.text.startswith("the mayor of brindle")


def test_every_split_that_is_measured_is_compared(files):
    held = pairs(20, 0)
    write_lines(files / "validation.jsonl", held[:4])
    source = jsonl(train=files / "other.jsonl", validation=files / "validation.jsonl", test=files / "test.jsonl")
    task = inference("", "rte", source=source)
    write_lines(files / "test.jsonl", held[4:])
    write_lines(files / "train.jsonl", held[3:7])
    found = audit([inference(files / "train.jsonl", "twin")], [(task, "test"), (task, "validation")])
    assert [(shared.records, shared.of) for shared in found.records] == [(1, 4), (3, 16)]
    assert found.held_out_records == 20


def test_a_shared_data_set_is_found_by_name(files):
    def hub(task, name, config=None, *folders):
        source = published(name, config, train="train", test="test", folders=(task, *folders))
        # Its records are the file's: a data set may be named and cleaned beyond recognition.
        return inference("", task, source=Named(source.origins(), files / f"{task}.jsonl"))

    for number, task in enumerate(("rte", "nli", "qa")):
        write_lines(files / f"{task}.jsonl", pairs(4, number))
    rte, nli, qa = hub("rte", "aps/super_glue", "rte"), hub("nli", "nyu-mll/glue", "rte"), hub("qa", "rajpurkar/squad")
    found = audit([qa, nli], [(rte, "test")])
    assert found.sources == (SharedSource("rte", "nli", "rte"),)
    assert found.records == ()
    assert found.violation(1.0) == "the held-out task 'rte' and the trained task 'nli' are both made from 'rte'"
    assert audit([qa], [(rte, "test")]).violation() == ""


@dataclasses.dataclass(frozen=True)
class Named:
    """A file that is made from data sets."""

    made_from: frozenset
    path: object
    splits: tuple = ("train", "test")

    def origins(self):
        return self.made_from

    def records(self, split):
        return jsonl(train=self.path, test=self.path).records(split)

    def fingerprint(self, split):
        return f"{self.path}"

    def describe(self):
        return "named"


@dataclasses.dataclass(frozen=True)
class Elsewhere(BaseTask):
    """A task that keeps its records to itself."""

    name: str = "elsewhere"
    cluster: str = "other"
    splits: tuple = ("train", "test")


def test_what_cannot_be_compared_is_named(files):
    tasks = [Elsewhere(), inference(files / "other.jsonl", "twin", fields=lambda record: {})]
    found = audit(tasks, [(inference(files / "test.jsonl"), "test"), (Elsewhere("third"), "test")])
    assert found.not_compared == ("elsewhere", "third")
    assert found.violation() == ""


def test_records_that_are_no_examples_or_cannot_be_read_are_no_training_data(files):
    held = pairs(20, 0)
    lines = [b"{", {**held[0], "label": ""}, {"premise": held[1]["premise"]}, held[2]]
    write_lines(files / "train.jsonl", lines)

    def fields(record):
        return {**record, "hypothesis": record["hypothesis"]} if record["label"] else None

    found = audit(
        [inference(files / "train.jsonl", "twin", fields=fields)], [(inference(files / "test.jsonl"), "test")]
    )
    assert found.trained_records == 1
    assert found.records == (
        SharedRecords("rte", "twin", 1, 20, f"{files / 'train.jsonl'}, line 4", held[2]["premise"]),
    )


def test_the_key_changes_with_all_that_is_compared_and_with_nothing_else(files):
    rte, reader = inference(files / "test.jsonl"), reading(files / "other.jsonl")
    twin = inference(files / "other.jsonl", "twin")
    first = audit_key([reader], [(rte, "test")])
    assert audit_key([Prompted(reader.spec, PromptMode.FS_OPT), reader], [(rte, "test"), (rte, "test")]) == first
    keys = [
        first,
        audit_key([rte], [(reader, "test")]),
        audit_key([reader], [(rte, "train")]),
        audit_key([reader, twin], [(rte, "test")]),
        audit_key([reader], [(rte, "test"), (twin, "test")]),
        audit_key([reading(files / "other.jsonl", "another")], [(rte, "test")]),
        audit_key(
            [reader], [(inference(files / "test.jsonl", fields=lambda record: {**record, "hypothesis": "x"}), "test")]
        ),
    ]
    write_lines(files / "other.jsonl", [document("a b c")])
    keys.append(audit_key([reader], [(rte, "test")]))
    write_lines(files / "test.jsonl", pairs(21, 0))
    keys.append(audit_key([reader], [(rte, "test")]))
    assert len(set(keys)) == len(keys)
    assert audit_key([Elsewhere()], []) != audit_key([], [])


def requests(path, *records):
    """Instruction data in a file, three harmless records first."""
    harmless = [{"instruction": f"Name {word}.", "input": "", "output": word} for word in WORDS[:3]]
    source = instruction_source(write_lines(path, [*harmless, *records]), max_validation=0)
    return Prompted(instruction_task("requests", source))


def test_a_whole_record_in_instruction_data_is_found(files):
    """Under another key it is the same text; inside a longer one it is contained, which is told and refuses nothing."""
    held = pairs(20, 0)
    given = {"instruction": "Is the claim true?", "input": held[4]["premise"].title(), "output": "yes"}
    told = {
        "instruction": f"Read this: {held[6]['premise']}. Now, is it so that {held[6]['hypothesis']}?",
        "input": "",
        "output": "yes",
    }
    rte = (inference(files / "test.jsonl"), "test")
    found = audit([requests(files / "r.jsonl", given, told)], [rte])
    (shared,) = found.records
    assert (shared.records, shared.of, shared.place) == (1, 20, f"{files / 'r.jsonl'}, line 4")
    assert found.contained == (
        SharedRecords("rte", "requests", 1, 20, f"{files / 'r.jsonl'}, line 5", held[6]["premise"]),
    )
    assert audit([requests(files / "r.jsonl", told)], [rte]).violation() == ""


def test_what_is_not_found(files):
    """Other words, a part of a text, and a short text inside a long one."""
    premise = pairs(20, 0)[6]["premise"]
    words = premise.split()
    write_lines(
        files / "test.jsonl", [*pairs(20, 0), {"premise": "It rained.", "hypothesis": "It did.", "label": "yes"}]
    )
    hidden = [
        " ".join(["another", *words[1:]]),  # one word of fourteen is another
        " ".join(words[:-1]),
        " ".join(reversed(words)),
        "It rained. It did. " + " ".join(WORDS[:20]),
    ]
    lines = [{"instruction": "Go on.", "input": text, "output": "yes"} for text in hidden]
    found = audit([requests(files / "r.jsonl", *lines)], [(inference(files / "test.jsonl"), "test")])
    assert (found.records, found.contained) == ((), ())


def test_a_record_is_contained_once_for_each_task_and_not_where_it_is_shared(files):
    held = pairs(20, 0)
    twice = [document(f"so {held[i]['premise']} and so") for i in (3, 3, 5)]
    write_lines(files / "many.jsonl", [*twice, document(held[5]["premise"])])
    write_lines(files / "few.jsonl", [document(f"{held[8]['premise']} {held[9]['premise']}")])
    found = audit(
        [reading(files / "many.jsonl"), reading(files / "few.jsonl", "few")],
        [(inference(files / "test.jsonl"), "test")],
    )
    assert [(one.trained, one.records) for one in found.records] == [("reader", 1)]
    assert [(one.trained, one.records) for one in found.contained] == [("reader", 1), ("few", 2)]
    assert found.contained[0].place == f"{files / 'many.jsonl'}, line 1"


def test_a_text_is_compared_however_deep_it_stands(files):
    text = pairs(20, 0)[2]["premise"]
    nested = text
    for _ in range(900):
        nested = [nested]
    write_lines(files / "other.jsonl", [{"premise": nested, "hypothesis": "one", "label": "yes"}])
    found = audit([inference(files / "other.jsonl", "twin")], [(inference(files / "test.jsonl"), "test")])
    assert found.records[0].records == 1


def asked(path, *questions, name="asked"):
    records = [{"premise": question, "hypothesis": "", "label": "x"} for question in questions]
    return inference(write_lines(path, records), name, options=(), predict="generate")


QUESTION = "Who first sailed around Brindle?"


@pytest.mark.parametrize(
    ("held", "trained", "records", "contained"),
    [
        (QUESTION, [{"instruction": "Answer.", "input": "who first sailed around BRINDLE", "output": "Ada"}], 1, 0),
        (QUESTION, [{"instruction": "Ask something.", "input": "", "output": QUESTION}], 1, 0),
        (f"Tell me: {QUESTION}", [{"instruction": f"Q: {QUESTION} A: Ada. Q: Tell me: {QUESTION} A:", "input": "", "output": "x"}], 0, 1),
        (QUESTION, [{"instruction": "Who last sailed around Brindle?", "input": "", "output": "Ada"}], 0, 0),
        ("Yes.", [{"instruction": "Say yes.", "input": "yes", "output": "yes"}], 0, 0),
        ("Because _ was late, Tom left.", [{"instruction": "Fill in: ", "input": "Because ____ was late, Tom left", "output": "Jo"}], 1, 0),
        ("Because _ was late, Tom left.", [{"instruction": "Because [ ] was late Tom left", "input": "", "output": "Jo"}], 1, 0),
        ("今天的天气怎么样", [{"instruction": "回答。", "input": "今天的天气怎么样？", "output": "好"}], 1, 0),
        ("今天的天气怎么样", [{"instruction": "例：昨天好。问：今天的天气怎么样？答：", "input": "", "output": "好"}], 0, 1),
        ("I am at it.", [{"instruction": "I am at it", "input": "no", "output": "x"}], 0, 0),
    ],
)  # fmt: skip
def test_a_short_text_is_found_where_it_is_a_whole_text_of_training_data(files, held, trained, records, contained):
    found = audit(
        [requests(files / "r.jsonl", *trained)], [(asked(files / "t.jsonl", held, "Else entirely, a b c d?"), "test")]
    )
    assert sum(pair.records for pair in found.records) == records
    assert sum(pair.records for pair in found.contained) == contained
    assert bool(found.violation(contained=True)) == bool(records + contained)
    assert any("inside longer texts" in line for line in found.notices()) == bool(contained)


def test_records_that_are_too_short_to_look_for_are_counted(files):
    found = audit([requests(files / "r.jsonl")], [(asked(files / "t.jsonl", "Yes.", "2 + 3", QUESTION), "test")])
    assert found.too_short == 2
    assert found.notices() == [
        "2 held-out records have fewer than 3 words, so that they are like others by chance: they were not looked for"
    ]


def test_the_texts_of_a_record_may_stand_together_in_one(files):
    held = {"premise": "It rained hard.", "hypothesis": "It was wet.", "label": "yes"}
    write_lines(files / "test.jsonl", [held, *pairs(3, 0)])
    together = {"instruction": "It rained hard. It was wet.", "input": "", "output": "yes"}
    found = audit([requests(files / "r.jsonl", together)], [(inference(files / "test.jsonl"), "test")])
    assert [pair.records for pair in found.records] == [1]


def test_a_trained_task_is_compared_by_whole_records(files):
    shared = pairs(20, 0)
    write_lines(files / "train.jsonl", [*shared[:3], {**shared[3], "hypothesis": "another claim"}])
    trained = inference(files / "train.jsonl")
    trained = Prompted(
        dataclasses.replace(trained.spec, source=jsonl(train=files / "train.jsonl", test=files / "test.jsonl"))
    )
    found = audit([trained], [], held_in=[(trained, "test")])
    assert (found.held_in_records, found.records, found.sources) == (20, (), ())
    (pair,) = found.held_in
    assert (pair.held_out, pair.trained, pair.records, pair.of) == ("rte", "rte", 3, 20)
    assert (
        "3 of 20 records that task 'rte' is measured on are among those that 'rte' is trained on" in found.violation()
    )
    assert found.violation(0.15) == ""
    # Elsewhere it is the same record.
    other = audit([requests(files / "r.jsonl")], [], held_in=[(trained, "test")])
    assert other.held_in == ()


def test_a_measured_record_of_one_text_is_asked_again_as_an_input(files):
    question = "What is the tallest mountain of that island?"
    rows = [("Answer this.", question), ("Say how", "high it is now.")]
    asked_again = requests(files / "a.jsonl", *({"instruction": i, "input": g, "output": "b"} for i, g in rows))
    rows = [("Say", question), (question.upper(), ""), ("High it is now.", "")]  # the last is too short to tell
    write_lines(files / "held.jsonl", [{"instruction": i, "input": g, "output": "b"} for i, g in rows])
    held = Prompted(instruction_task("held", instruction_source(files / "held.jsonl", max_validation=0)))
    (shared,) = audit([asked_again], [], held_in=[(held, "train")]).held_in
    assert (shared.records, shared.of) == (1, 3)
    assert shared.text == "what is the tallest mountain of that island"


def test_what_a_function_makes_may_ask_the_same_in_every_split():
    spec = inference("x").spec
    world = Prompted(dataclasses.replace(spec, source=generated("world", lambda split: pairs(3, 0), 1)))
    found = audit([world], [], held_in=[(world, "test")])
    assert (found.held_in[0].records, found.worlds) == (3, ("rte",))
    assert (found.violation(), found.notices()) == ("", [])


@pytest.mark.realdata
def test_short_published_questions_are_looked_for(realdata, files):
    held = [json.loads(line) for line in (realdata / "nlp_clusters/closed_book_qa/nq_open/test.jsonl").open()]
    questions = [record["question"] for record in held]
    short = [text for text in questions if len(text.split()) < LONG_TEXT]
    assert len(short) > len(questions) / 2
    copies = [{"instruction": "Answer this.", "input": text.upper() + "?", "output": "x"} for text in questions]
    found = audit([requests(files / "r.jsonl", *copies)], [(asked(files / "t.jsonl", *questions), "test")])
    assert found.records[0].records >= 0.99 * len(questions)
