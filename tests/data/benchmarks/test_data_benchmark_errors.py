"""Files of benchmarks that are not what they should be: one sentence with the place and what was expected."""

import json

import pytest

from flan_jax.data.benchmarks.registry import BENCHMARKS
from flan_jax.errors import UserError


def spoil(folder, name, change):
    path = folder / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def replace(old, new):
    def change(text):
        assert old in text
        return text.replace(old, new, 1)

    return change


WRONG = [
    ("mmlu", "dev/astronomy_dev.csv", None, r"astronomy_dev\.csv' is no file, but it should hold a question, four choices"),
    ("mmlu", "test/astronomy_test.csv", lambda text: "", r"astronomy_test\.csv' is empty, but it should hold a question"),
    ("mmlu", "test/astronomy_test.csv", replace(",Hill,D", ",Hill,E"), r"astronomy_test\.csv, line 1: the answer is 'E', but it must be A, B, C or D"),
    ("mmlu", "test/astronomy_test.csv", replace(",Tom,C", ",Tom,2"), r"line 2: the answer is '2', but it must be A, B, C or D\. Correct"),
    ("mmlu", "test/astronomy_test.csv", replace(",Hill,D", ",D"), r"line 1: 5 column\(s\) instead of 6; expected a question, four choices"),
    ("mmlu", "test/astronomy_test.csv", lambda text: f"question,A,B,C,D,answer\n{text}", r"line 1: the columns are question, A, B, C, D, answer, but they should be question, choice0"),
    ("mmlu", "test/astronomy_test.csv", lambda text: "question,choice0,choice1,choice2,choice3,answer\n", r"names of columns and no row"),
    ("mmlu", "test/astronomy_test.csv", lambda text: text + '"open', r"line 7: .*where a question, four choices.* was expected"),
    ("mmlu_cot", "mmlu-cot.json", lambda text: "{", r"mmlu-cot\.json, line 1: no JSON .*where a JSON object of subjects"),
    ("mmlu_cot", "mmlu-cot.json", lambda text: '["a"]', r"mmlu-cot\.json: not a JSON object of subjects"),
    ("mmlu_cot", "mmlu-cot.json", replace('"astronomy"', '"astronomi"'), r"has no subject 'astronomy'\. Did you mean 'astronomi'"),
    ("mmlu_cot", "mmlu-cot.json", lambda text: json.dumps({"astronomy": "About seas."}), r"'astronomy': no solved question\. Write each as 'Q: …'"),
    ("mmlu_cot", "mmlu-cot.json", None, r"has no mmlu-cot\.json or .*Put FLAN's file there or name it \(--exemplars FILE\)"),
    ("bbh", "bbh/snarks.json", lambda text: '{"rows": []}', r"snarks\.json: its keys are rows, but an object with 'examples'"),
    ("bbh", "bbh/snarks.json", replace('"target"', '"answer"'), r"snarks\.json, example 0: the keys are input, answer, but an object with 'input' and 'target' was expected"),
    ("bbh", "bbh/snarks.json", lambda text: " ", r"snarks\.json' is empty"),
    ("bbh", "cot-prompts/snarks.txt", None, r"snarks\.txt' is no file, but it should hold a line of dashes"),
    ("bbh", "cot-prompts/snarks.txt", replace("So the answer is False.", "So it is False."), r"snarks\.txt: the reasons of solved question 1 do not end in 'So the answer is"),
    ("bbh_cot", "cot-prompts/snarks.txt", replace("\nA: Let's", "\nB: Let's"), r"snarks\.txt: solved question 1 has no answer"),
    ("gsm8k", "test.jsonl", replace("#### 201", "201"), r"test\.jsonl, line 1: the answer ends in .*but an object with 'question' and an 'answer' that ends in"),
    ("gsm8k", "test.jsonl", lambda text: f"[1]\n{text}", r"test\.jsonl, line 1: '\[1\]' is no JSON object"),
    ("gsm8k", "test.jsonl", lambda text: text + "{\n", r"test\.jsonl, line 4: no JSON"),
    ("gsm8k", "train.jsonl", lambda text: "\n", r"train\.jsonl' is empty"),
    ("gsm8k", "train.jsonl", replace('"question"', '"asked"'), r"train\.jsonl, line 1: the keys are asked, answer"),
]  # fmt: skip
TASK = {"mmlu": "astronomy", "mmlu_cot": "astronomy", "bbh": "snarks", "bbh_cot": "snarks", "gsm8k": "gsm8k"}


@pytest.mark.parametrize(("name", "file", "change", "message"), WRONG)
def test_a_file_of_another_form_is_refused(name, file, change, message, folder_of, read):
    folder = folder_of(name)
    if change is None:
        (folder / file).unlink()
    else:
        spoil(folder, file, change)
    with pytest.raises(UserError, match=message):
        read(name, folder, TASK[name])


def test_bytes_that_are_no_text_have_their_line(folder_of, read):
    folder = folder_of("mmlu")
    path = folder / "test" / "astronomy_test.csv"
    path.write_bytes(path.read_bytes().replace(b"Tom", b"T\xff"))
    with pytest.raises(UserError, match=r"astronomy_test\.csv, line 2: no UTF-8 text"):
        read("mmlu", folder, "astronomy")


@pytest.mark.parametrize(("name", "old", "new", "message"), [
    ("mmlu", "test/astronomy_test.csv", "test/astronomie_test.csv", r"Unknown subject of MMLU 'astronomie'\. Did you mean 'astronomy'"),
    ("bbh", "bbh/snarks.json", "bbh/snark.json", r"Unknown task of BIG-Bench Hard 'snark'\. Did you mean 'snarks'"),
])  # fmt: skip
def test_a_file_of_no_known_task_is_refused(name, old, new, message, folder_of):
    folder = folder_of(name)
    (folder / old).rename(folder / new)
    with pytest.raises(UserError, match=message):
        BENCHMARKS.get(name).tasks(folder)


def test_an_unknown_benchmark_has_neighbors():
    with pytest.raises(UserError, match=r"Unknown benchmark 'mmluu'\. Did you mean 'mmlu'"):
        BENCHMARKS.get("mmluu")


def test_more_orders_than_there_are_are_refused(folder_of, read):
    with pytest.raises(UserError, match=r"25 orders of the options are asked for, but 4 options have 1 to 24"):
        read("mmlu", folder_of("mmlu"), "astronomy", option_orders=25)


def test_a_file_of_solved_questions_is_refused_where_none_is_read(folder_of, read, tmp_path):
    with pytest.raises(UserError, match=r"mmlu shows the questions of dev, so it takes no file of solved examples"):
        read("mmlu", folder_of("mmlu"), "astronomy", exemplars=tmp_path / "own.json")
