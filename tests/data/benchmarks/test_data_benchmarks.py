"""Published benchmarks: what is read of their files, and the prompts, which stand as they were published."""

import os
from pathlib import Path

import pytest

from flan_jax.data.benchmarks.registry import BENCHMARKS
from flan_jax.errors import UserError
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.testing.benchmarks import write_gsm8k, write_mmlu

GOLDEN = Path(__file__).parents[2] / "golden" / "benchmarks"
FIRST = {"mmlu": "us_foreign_policy", "mmlu_cot": "us_foreign_policy", "bbh": "boolean_expressions", "bbh_cot": "boolean_expressions", "gsm8k": "gsm8k"}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_prompt_is_the_published_one_to_the_letter(name, folder_of, read, prompts):
    """What the files of GOLDEN hold was also made by the published code, over the same files, and is equal."""
    task = read(name, folder_of(name), FIRST[name])
    order = task.shot_order
    text = prompts(task, BENCHMARKS.get(name).shots, order=order)[0] + "|"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(FIRST))
def test_every_benchmark_says_what_it_is(name, folder_of):
    benchmark = BENCHMARKS.get(name)
    folder = folder_of(name)
    known = benchmark.tasks(folder)
    assert benchmark.find_folder(folder) == folder
    assert FIRST[name] in known
    assert all(known.values())
    for metric in (benchmark.metric, *benchmark.other_metrics):
        METRICS.get(metric)


def test_the_folder_may_lie_in_a_folder_of_data_under_its_usual_name(tmp_path):
    write_mmlu(tmp_path / "data" / "mmlu")
    assert BENCHMARKS.get("mmlu").find_folder(tmp_path / "data") == tmp_path / "data" / "mmlu"
    with pytest.raises(UserError, match=r"has no 'test\.jsonl', nor has a folder 'gsm8k' or .*--benchmark_dir"):
        BENCHMARKS.get("gsm8k").find_folder(tmp_path)


def test_both_layouts_of_mmlu_are_the_same_questions(tmp_path, read):
    published, named = (
        read("mmlu", write_mmlu(tmp_path / str(named), named=named), "astronomy") for named in (False, True)
    )
    assert published == named
    assert [question.references for question in published.questions] == [("D",), ("C",), ("B",), ("D",), ("C",), ("A",)]
    assert published.category == "stem"


def test_a_question_in_other_orders_has_the_same_right_choice(tmp_path, read):
    folder = write_mmlu(tmp_path)
    once = read("mmlu", folder, "astronomy", limit=2)
    asked = read("mmlu", folder, "astronomy", option_orders=5, limit=2)
    assert [(q.example_id, q.order) for q in asked.questions] == [(i, order) for i in (0, 1) for order in range(5)]
    assert [q.text for q in asked.questions if q.order == 0] == [q.text for q in once.questions]
    assert len({q.text for q in asked.questions}) == 10
    first, second = ([q.places for q in asked.questions if q.example_id == index] for index in (0, 1))
    assert first != second
    for question in asked.questions:
        listed = dict(line.split(". ", 1) for line in question.text.split("\n")[1:-1])
        assert listed[question.references[0]] == ("Hill", "Bea")[question.example_id]
    assert asked.questions == read("mmlu", folder, "astronomy", option_orders=5, limit=2).questions
    assert asked.questions != read("mmlu", folder, "astronomy", option_orders=5, limit=2, seed=1).questions
    cot = read("mmlu_cot", folder, "astronomy", option_orders=2, limit=1)
    assert [q.text.split(q.references[0] + " ")[1].split(" (")[0].split("\n")[0] for q in cot.questions] == [
        "Hill",
        "Hill",
    ]


def test_answers_of_gsm8k_are_numbers_without_separators(tmp_path, read):
    task = read("gsm8k", write_gsm8k(tmp_path, test=600), "gsm8k")
    assert task.questions[500].references == ("1201",)
    assert task.shot_order == "drawn"
    assert "drawn from the training split" in task.notes[0]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_solved_questions_of_gsm8k_come_from_a_file_of_the_user_s(tmp_path, read, prompts, suffix):
    folder = write_gsm8k(tmp_path / "gsm8k")
    path = tmp_path / f"eight{suffix}"
    if suffix == ".txt":
        path.write_text("Q: Two?\nA: It is 1 + 1. The answer is 2.\n\nQ: Three?\nA: One more. The answer is 3.\n")
    else:
        path.write_text(
            '{"question": "Two?", "answer": "It is 1 + 1\\n#### 2"}\n{"question": "Three?", "answer": "One more.\\n#### 3"}\n'
        )
    task = read("gsm8k", folder, "gsm8k", 2, exemplars=path)
    assert task.shot_order == "published"
    begun = (
        "Q: Two?\nA: It is 1 + 1. The answer is 2.\n\nQ: Three?\nA: One more. The answer is 3.\n\nQ: Mia has 100 eggs"
    )
    assert prompts(task, 2)[0].startswith(begun)


def test_without_solved_questions_none_need_be_there(tmp_path, read, prompts):
    mmlu, gsm8k = write_mmlu(tmp_path / "mmlu"), write_gsm8k(tmp_path / "gsm8k")
    (mmlu / "mmlu-cot.json").unlink()
    (mmlu / "dev" / "astronomy_dev.csv").unlink()
    (gsm8k / "train.jsonl").unlink()
    direct = "The following are multiple choice questions (with answers) about  astronomy.\n\nWhich then is no sea?\nA. Ona\n"
    assert prompts(read("mmlu", mmlu, "astronomy", 0), 0)[0].startswith(direct)
    begun = "The following are multiple choice questions (with answers) about astronomy.\n\nQ: Which then is no sea?\n(A) Ona (B) Pell"
    assert prompts(read("mmlu_cot", mmlu, "astronomy", 0), 0)[0].startswith(begun)
    assert prompts(read("gsm8k", gsm8k, "gsm8k", 0), 0)[0].startswith("Q: Mia has 100 eggs")


@pytest.mark.realdata
def test_all_subjects_of_mmlu_are_read(realdata, read):
    if not (realdata / "mmlu").is_dir():
        pytest.skip("FLAN_JAX_REALDATA has no folder 'mmlu'")
    folder = BENCHMARKS.get("mmlu").find_folder(realdata)
    found = BENCHMARKS.get("mmlu").tasks(folder)
    tasks = [read("mmlu", folder, subject) for subject in found]
    assert len(tasks) == 57
    assert {len(task.shots) for task in tasks} == {5}
    assert sum(len(task.questions) for task in tasks) == 14_042
    assert {found[subject] for subject in found} == {"stem", "humanities", "social_sciences", "other"}


@pytest.mark.realdata
def test_gsm8k_is_read(realdata, read, prompts):
    if not (realdata / "gsm8k").is_dir():
        pytest.skip("FLAN_JAX_REALDATA has no folder 'gsm8k'")
    task = read("gsm8k", BENCHMARKS.get("gsm8k").find_folder(realdata), "gsm8k")
    assert (len(task.questions), len(task.shots)) == (1319, 7473)
    assert all(float(question.references[0]) is not None for question in task.questions)
    assert not any("<<" in shot.text or "####" in shot.text for shot in task.shots)
    assert prompts(task, 8, order="drawn")[0].count("The answer is ") == 8
