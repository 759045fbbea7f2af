"""The published files, whole: what each is told to be, and how much is in it."""

import pytest

from flan_jax.data.formats import oasst
from flan_jax.data.instructions import data_report, instruction_source, mixture_of_path
from flan_jax.errors import UserError
from flan_jax.tasks.render import render_split

pytestmark = pytest.mark.realdata

INSTRUCTIONS = [
    ("dolly/dolly_3k.jsonl", "dolly_alpagasus", 2996, 2996),
    ("alpaca_schema_small/instruction-data.json", "alpaca", 1100, 1100),
    ("self_instruct/seed_tasks.jsonl", "self_instruct", 175, 175),
    ("self_instruct/user_oriented_instructions.jsonl", "self_instruct", 252, 252),
    ("superni/tasks/task1146_country_capital.json", "super_natural_instructions", 1, 100),
    ("flan_cot/aqua_train.tsv", "flan_cot", 2728, 2728),
    ("flan_cot/creak_train.tsv", "flan_cot", 6915, 6915),
    ("flan_cot/ecqa_train.tsv", "flan_cot", 7112, 7112),
    ("flan_cot/gsm8k_train.tsv", "flan_cot", 7473, 7473),
    ("flan_cot/qasc_train.tsv", "flan_cot", 1084, 1084),
    ("flan_cot/sensemaking_train.tsv", "flan_cot", 6070, 6070),
    ("flan_cot/strategyqa_train.tsv", "flan_cot", 2061, 2061),
    ("dolly/dolly_hhrlhf_train_small.jsonl", "prompt_completion", 1000, 1000),
    ("p3_t0_rendered/self_instruct_t0_train_sample.jsonl", "prompt_completion", 2148, 2148),
]


@pytest.mark.parametrize(("name", "known", "records", "examples"), INSTRUCTIONS)
def test_instructions_and_prompts(realdata, name, known, records, examples):
    (file,) = data_report(realdata / name).files
    assert (file.format, file.records, file.examples, file.unreadable) == (known, records, examples, 0)
    assert sum(file.filtered.values()) == 0


def test_preference_pairs_beside_an_instruction_are_refused(realdata):
    (file,) = data_report(realdata / "alpaca_schema_small/instruction-data-with-preference.json").files
    assert (file.format, file.records, file.examples, file.unreadable) == ("alpaca", 1100, 0, 1100)
    assert "this is preference data" in file.reasons[0]


def test_vicuna_conversations(realdata):
    path = realdata / "chat/fastchat/dummy_conversation.json"
    (file,) = data_report(path, clean=("refused",)).files
    assert (file.format, file.records, file.unreadable) == ("sharegpt", 500, 0)
    assert (file.examples, file.messages, file.turns) == (500, 2000, 1000)
    assert file.filtered == {"placeholders": 0, "empty": 0, "refused": 0}


@pytest.mark.parametrize("name", ["en_100_tree.jsonl", "en_100_message.jsonl"])
def test_open_assistant_trees(realdata, name):
    path = realdata / "chat/oasst" / name
    (file,) = data_report(path).files
    assert (file.format, file.records, file.unreadable) == ("oasst_tree", 100, 0)
    assert (file.examples, file.messages, file.turns) == (100, 290, 145)
    every = data_report(path, oasst(paths="all")[0]).files[0]
    assert (every.examples, every.messages, every.turns) == (564, 1844, 922)
    none = data_report(path, oasst(languages=("de",))[0]).files[0]
    assert (none.examples, none.filtered["other language"], none.filtered["no answer"]) == (0, 100, 100)


def test_rendered_prompts_of_recross(realdata):
    folder = realdata / "p3_t0_rendered/recross"
    train, test = data_report(folder / "train"), data_report(folder / "test")
    assert {file.format for file in (*train.files, *test.files)} == {"recross"}
    assert [(len(r.files), r.total("records"), r.total("examples"), r.total("unreadable")) for r in (train, test)] == [
        (22, 4400, 4400, 0),
        (45, 4492, 4492, 0),
    ]
    assert sum(sum(file.filtered.values()) for file in (*train.files, *test.files)) == 0


@pytest.mark.parametrize(
    "name",
    [
        "mt_bench/question.jsonl",
        "mt_bench/reference_answer/gpt-4.jsonl",
        "vicuna_bench/question.jsonl",
        "judge_prompts.jsonl",
    ],
)
def test_questions_without_answers_are_no_training_data(realdata, name):
    with pytest.raises(UserError, match="no known format has records with the keys"):
        data_report(realdata / "chat/fastchat" / name)


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("dolly/dolly_3k.jsonl", 2796),
        ("chat/fastchat/dummy_conversation.json", 928),
        ("chat/oasst/en_100_tree.jsonl", 132),
        ("p3_t0_rendered/self_instruct_t0_train_sample.jsonl", 1948),
        ("p3_t0_rendered/recross/train", 3960),
        ("self_instruct", 386),
    ],
)
def test_every_training_record_renders(realdata, name, examples):
    mixture = mixture_of_path(realdata / name)
    assert sum(1 for task in mixture.train_tasks for _ in render_split(task, "train")) == examples
    assert len(mixture.suites[0].tasks) == len(mixture.entries)


def test_the_split_of_a_real_file(realdata):
    source = instruction_source(realdata / "dolly/dolly_3k.jsonl")
    assert (source.count("train"), source.count("validation")) == (2796, 200)
    asked = [{(r["instruction"], r["input"]) for r in source.records(split)} for split in source.splits]
    assert not asked[0] & asked[1]
