"""Benchmarks made into what a model reads, and measured by a tiny published one."""

import dataclasses
import json

import numpy as np
import pytest

from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.errors import UserError
from flan_jax.eval.results import read_predictions, read_results
from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest, benchmark_suite
from flan_jax.experiments.suites.benchmarks import AnswerLimits, evaluate_benchmarks, prompt_reader
from flan_jax.experiments.suites.prompts import PromptReader
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.testing.benchmarks import write_bbh, write_gsm8k, write_mmlu
from flan_jax.testing.folders import chat_model

BYTES = ByteVocabulary()
WIDE = PromptReader(BYTES, 4096)


@pytest.fixture(scope="module")
def mmlu(tmp_path_factory):
    return str(write_mmlu(tmp_path_factory.mktemp("mmlu")))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A decoder of random weights in a Hugging Face folder, which reads 1,024 tokens."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    chat_model(folder, max_positions=1024)
    return folder


def text(example):
    return BYTES.decode(example.inputs)


def test_examples_hold_the_prompt_and_its_options(mmlu):
    suite = benchmark_suite(BenchmarkRequest("mmlu", mmlu, limit=2), WIDE)
    assert [task.name for task in suite.tasks] == ["mmlu_astronomy_limit2", "mmlu_us_foreign_policy_limit2"]
    task = suite.tasks[0]
    assert (task.cluster, task.metric, task.predict, task.notes) == ("stem", "accuracy", "rank", ())
    assert [(e.example_id, e.template_id, e.options, e.references) for e in task.examples] == [
        (0, 0, ("A", "B", "C", "D"), ("D",)),
        (1, 0, ("A", "B", "C", "D"), ("C",)),
    ]
    assert all(text(example) == example.inputs_text for example in task.examples)
    assert task.examples[0].inputs_text.count("Answer:") == 6
    assert task.examples[0].inputs_text.endswith("D. Hill\nAnswer:")


def test_solved_examples_that_do_not_fit_go_from_the_end_and_are_counted(mmlu):
    whole = benchmark_suite(BenchmarkRequest("mmlu", mmlu, tasks=("astronomy",)), WIDE).tasks[0].examples
    room = len(whole[0].inputs) - 10
    suite = benchmark_suite(BenchmarkRequest("mmlu", mmlu, tasks=("astronomy",)), PromptReader(BYTES, room))
    shortened = [len(example.inputs) > room for example in whole]
    assert any(shortened)
    (task,) = suite.tasks
    for before, example, is_shortened in zip(whole, task.examples, shortened, strict=True):
        assert len(example.inputs) <= room
        shots = 5 - is_shortened
        assert example.inputs_text.count("Answer:") == 1 + shots
        assert example.inputs_text == before.inputs_text or "Who wrote" not in example.inputs_text
    count = sum(shortened)
    assert task.notes == (
        f"{count} of 6 questions are asked with fewer than 5 solved examples, 4 at the fewest, as more do not fit {room} tokens; "
        f"{count} were left out, the last first.",
    )
    assert suite.settings["shots_left_out"] == count


def test_as_many_solved_examples_are_kept_as_fit(mmlu):
    """By bisection, and so for any room: one more would not fit."""
    request = BenchmarkRequest("mmlu", mmlu, tasks=("astronomy",))
    wanted = {shots: lengths(dataclasses.replace(request, shots=shots)) for shots in range(6)}
    for room in range(min(wanted[0]), max(wanted[5]), 17):
        (task,) = benchmark_suite(request, PromptReader(BYTES, room)).tasks
        for place, example in enumerate(task.examples):
            most = max((shots for shots in wanted if wanted[shots][place] <= room), default=0)
            assert example.inputs_text.count("Answer:") == 1 + most


def lengths(request):
    return [len(example.inputs) for example in benchmark_suite(request, WIDE).tasks[0].examples]


def test_a_question_that_is_too_long_keeps_its_last_words(mmlu):
    reader = PromptReader(BYTES, 40, end=(1,))
    (task,) = benchmark_suite(BenchmarkRequest("mmlu", mmlu, shots=0, limit=1, tasks=("astronomy",)), reader).tasks
    assert len(task.examples[0].inputs) == 40
    assert task.examples[0].inputs[-1] == 1
    assert text(task.examples[0]).endswith("D. Hill\nAnswer:")
    assert task.notes == (
        "1 of 1 questions are asked with their last words alone, since they have more than 40 tokens by themselves.",
    )


def test_names_say_what_is_not_as_published():
    assert BenchmarkRequest("mmlu").suite == "mmlu"
    assert BenchmarkRequest("mmlu", shots=5).suite == "mmlu"
    assert BenchmarkRequest("mmlu", shots=0, limit=20, tasks=("stem", "*law")).suite == "mmlu_0shot_limit20:stem,*law"
    assert BenchmarkRequest("mmlu", option_orders=4, shot_order="drawn").suffix == "_drawn_4orders"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), {"astronomy", "us_foreign_policy"}),
        (("astro*",), {"astronomy"}),
        (("mmlu_us_foreign_policy",), {"us_foreign_policy"}),
        (("social_sciences", "stem"), {"astronomy", "us_foreign_policy"}),
    ],
)
def test_tasks_are_chosen_by_name_or_category(mmlu, patterns, expected):
    suite = benchmark_suite(BenchmarkRequest("mmlu", mmlu, tasks=patterns), WIDE)
    assert {task.name.removeprefix("mmlu_") for task in suite.tasks} == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": "mlu"}, r"Unknown benchmark 'mlu'\. Did you mean 'mmlu'"),
        ({"tasks": ("astronmy",)}, r"Unknown task or category of mmlu 'astronmy'\. Did you mean 'astronomy'"),
        ({"shots": 6}, r"mmlu_astronomy has 5 solved example\(s\), but 6 are asked for"),
        ({"shots": -1}, r"--shots -1 must be at least 0"),
        ({"folder": "nowhere"}, r"is looked for in .*nowhere', which has no 'test'"),
        (
            {"benchmark": "bbh", "option_orders": 2},
            r"--option_orders 2: the options of bbh are part .*Those of mmlu and mmlu_cot",
        ),
        ({"benchmark": "mmlu_cot", "exemplars": "gone.json"}, r"--exemplars 'gone\.json': there is no such file"),
    ],
)
def test_what_cannot_be_measured_is_refused(mmlu, changes, message):
    with pytest.raises(UserError, match=message):
        benchmark_suite(BenchmarkRequest(**{"benchmark": "mmlu", "folder": mmlu, **changes}), WIDE)


def test_what_a_vocabulary_does_to_prompts_is_told(mmlu, tmp_path):
    words = WordVocabulary(["a", "b", "c", "d", "sea", "Answer"])
    (task,) = benchmark_suite(BenchmarkRequest("mmlu", mmlu, limit=1, tasks=("stem",)), PromptReader(words, 512)).tasks
    dropped, unknown = task.notes
    assert dropped == "The vocabulary drops line ends, so prompts are read in one line."
    count = int(np.count_nonzero(task.examples[0].inputs == words.unk_id))
    assert unknown.startswith(f"{count} of {len(task.examples[0].inputs)} tokens of the prompts (")
    with pytest.raises(UserError, match=r"reads the options 'B' and 'C' alike.*mmlu cannot be measured with it"):
        benchmark_suite(BenchmarkRequest("mmlu", mmlu), PromptReader(WordVocabulary(["a", "d"]), 512))


def test_an_answer_is_read_as_it_stands_behind_the_prompt(published):
    vocabulary = load_vocabulary(published)
    decoder, ended = PromptReader(vocabulary, 64), PromptReader(vocabulary, 64, end=(2,))
    before = vocabulary.encode("Answer:")
    assert [*before, *decoder.answer_ids("A")] == vocabulary.encode("Answer: A")
    assert list(ended.answer_ids("A")) == vocabulary.encode("A")


def test_a_published_decoder_reads_no_end_and_leaves_room_for_an_answer(published):
    config = run_of_folder(published)
    vocabulary = load_vocabulary(published)

    def reader(name, published=True, **limits):
        return prompt_reader(
            config, vocabulary, BenchmarkRequest(name), published=published, limits=AnswerLimits(**limits)
        )

    assert (reader("mmlu").room, reader("mmlu").end) == (1024 - 8 - 1, ())
    assert reader("gsm8k").room == 1024 - 256 - 1
    assert reader("gsm8k", max_tokens=24, input_length=500).room == 500
    assert reader("mmlu", published=False).end == (vocabulary.eos_id,)
    with pytest.raises(UserError, match=r"--input_length 1000: the model reads 1024 tokens in all.*Give at most 767"):
        reader("gsm8k", input_length=1000)
    with pytest.raises(UserError, match=r"gsm8k: 3 tokens are left for a prompt"):
        reader("gsm8k", max_tokens=1020)


def test_a_prompt_may_be_a_turn_in_the_folder_s_chat_template(published, mmlu):
    config, vocabulary = run_of_folder(published), load_vocabulary(published)
    request = BenchmarkRequest("mmlu", mmlu, shots=0, limit=1, tasks=("astronomy",), chat=True)
    reader = prompt_reader(config, vocabulary, request, published=True, limits=AnswerLimits())
    (task,) = benchmark_suite(request, reader).tasks
    assert task.name == "mmlu_astronomy_0shot_chat_limit1"
    (example,) = task.examples
    assert vocabulary.decode(example.inputs) == f"user: {example.inputs_text}<|turn|>assistant:"
    assert vocabulary.decode(reader.answer_ids("A")) == " A"


def test_a_published_model_is_measured_and_results_lie_in_the_folder(published, mmlu, tmp_path):
    config = run_of_folder(published)
    gsm8k, bbh = (str(write(tmp_path / name)) for name, write in (("gsm8k", write_gsm8k), ("bbh", write_bbh)))
    requests = [
        BenchmarkRequest("mmlu", mmlu, option_orders=3, limit=4, shots=1, tasks=("astronomy",)),
        BenchmarkRequest("gsm8k", gsm8k, shots=2),
        BenchmarkRequest("bbh_cot", bbh, limit=1, shots=1),
    ]
    out = tmp_path / "out"
    logged = []
    limits = AnswerLimits(max_tokens=6)
    results = evaluate_benchmarks(
        config, requests, output_dir=str(out), published=True, limits=limits, log=logged.append
    )
    assert list(results.suites) == ["mmlu_1shot_3orders_limit4:astronomy", "gsm8k_2shot", "bbh_cot_1shot_limit1"]
    assert logged == []
    (result,) = results.suites["mmlu_1shot_3orders_limit4:astronomy"]
    assert (result.n, result.chance) == (12, 0.25)
    assert set(result.per_template) == {0, 1, 2}
    assert 0 <= result.metrics["order_agreement"] <= 1
    assert result.metrics["order_lowest"] <= result.value <= result.metrics["order_highest"]
    saved = read_results(out, 0)
    assert saved.settings["gsm8k_2shot"] | {"tasks": None, "decoding": None} == {
        "benchmark": "gsm8k", "prompt_format": 1, "shots": 2, "shot_order": "drawn", "exemplars": "folder",
        "shots_left_out": 0, "limit": 0, "option_orders": 1, "seed": 0, "lengths": {"inputs": 1017, "targets": 6},
        "tasks": None, "decoding": None,
    }  # fmt: skip
    assert saved.settings["gsm8k_2shot"]["decoding"]["max_length"] == 6
    assert "Q:" in saved.settings["gsm8k_2shot"]["decoding"]["stop"]
    assert set(saved.suites["gsm8k_2shot"][0].metrics) >= {"last_number"}
    predictions = list(read_predictions(out, 0, "mmlu_astronomy_1shot_3orders_limit4"))
    assert len(predictions) == 12
    assert all(len(row.option_scores) == 4 and np.isfinite(row.option_scores).all() for row in predictions)
    assert (out / "report.html").is_file()

    # A second measurement is merged, and says what it replaces.
    other = dataclasses.replace(requests[1], seed=1)
    evaluate_benchmarks(config, [other], output_dir=str(out), published=True, limits=limits, log=logged.append)
    assert list(read_results(out, 0).suites) == list(results.suites)
    assert len(logged) == 1
    assert (
        "measuring suite 'gsm8k_2shot' of step 0 again: it was measured with other settings (seed: 0 → 1" in logged[0]
    )


def test_a_benchmark_named_twice_is_refused(published, mmlu, tmp_path):
    with pytest.raises(UserError, match=r"mmlu is asked for twice"):
        evaluate_benchmarks(
            run_of_folder(published), [BenchmarkRequest("mmlu", mmlu)] * 2, output_dir=str(tmp_path), published=True
        )


def test_settings_are_json(mmlu):
    settings = benchmark_suite(BenchmarkRequest("mmlu", mmlu), WIDE).settings
    assert json.loads(json.dumps(settings)) == settings
