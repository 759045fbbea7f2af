"""The same tasks through the harness's ``hf`` backend and through ours, from local files only."""

import csv
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Read when the libraries are imported: nothing is fetched.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

LETTERS = "ABCD"
QUESTIONS = [
    ("Where did the cat sit?", ["on the mat", "by a large green tree", "in the small red house", "at the door"], "A"),
    ("What did the dog do?", ["it sat", "it ran to the door", "it ran", "it don't"], "B"),
    ("Which tree is it?", ["a small one", "a red one", "a large green one", "none"], "C"),
    ("Who begins a turn?", ["the user", "the assistant", "the system", "the cat and the dog"], "D"),
    ("What ends the text?", ["an end", "a pad", "the unk", "a turn"], "A"),
    ("How is the house?", ["large and green", "small and red", "by the mat", "extra"], "B"),
]  # fmt: skip
MMLU = """
dataset_path: csv
dataset_kwargs: {{data_files: {{dev: {dev}, test: {test}}}, column_names: [question, A, B, C, D, answer], skiprows: 1}}
test_split: test
fewshot_split: dev
fewshot_config: {{sampler: first_n}}
num_fewshot: {shots}
description: "The following are multiple choice questions (with answers) about {subject}.\\n\\n"
output_type: multiple_choice
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
LETTER = """
task: {name}_letter
doc_to_text: "{{{{question|string|trim}}}}\\nA. {{{{A}}}}\\nB. {{{{B}}}}\\nC. {{{{C}}}}\\nD. {{{{D}}}}\\nAnswer:"
doc_to_choice: [A, B, C, D]
"""
WORDS = """
task: {name}_words
doc_to_text: "Question: {{{{question|string|trim}}}}\\nAnswer:"
doc_to_choice: "{{{{[A|string, B|string, C|string, D|string]}}}}"
"""
WRITTEN = """
task: {name}_written
dataset_path: json
dataset_kwargs: {{data_files: {{test: {test}}}}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {generation}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
ROLLING = """
task: {name}_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {test}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list: [{{metric: word_perplexity}}]
"""


class Sample(NamedTuple):
    """A request of a task with its answer."""

    arguments: Any
    answer: Any


def write_subject(folder: Path, name: str, rows: list[list[str]], dev: list[list[str]]) -> tuple[Path, Path]:
    """MMLU's files of a subject, as they are mirrored: a header, and the answer as a number."""
    paths = folder / f"{name}_test.csv", folder / f"{name}_dev.csv"
    for path, own in zip(paths, (rows, dev), strict=True):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["question", "choice0", "choice1", "choice2", "choice3", "answer"], *own])
    return paths


def write_mmlu(folder: Path, name: str, test: Path, dev: Path, *, shots: int = 2) -> list[str]:
    """A subject as two tasks: the letter is chosen, and the words are."""
    common = MMLU.format(test=test, dev=dev, subject=name.replace("_", " "), shots=shots)
    for kind, text in (("letter", LETTER), ("words", WORDS)):
        (folder / f"{name}_{kind}.yaml").write_text(text.format(name=name) + common, encoding="utf-8")
    return [f"{name}_letter", f"{name}_words"]


def write_texts(folder: Path, name: str, texts: list[str], answers: list[str], generation: dict[str, Any]) -> list[str]:
    """Texts as a task to go on from them, and as one to score them whole."""
    path = folder / f"{name}.jsonl"
    rows = [{"question": text, "answer": answer} for text, answer in zip(texts, answers, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for kind, text in (("written", WRITTEN), ("rolling", ROLLING)):
        content = text.format(name=name, test=path, generation=json.dumps(generation))
        (folder / f"{name}_{kind}.yaml").write_text(content, encoding="utf-8")
    return [f"{name}_written", f"{name}_rolling"]


def invented_tasks(folder: Path, generation: dict[str, Any]) -> list[str]:
    """MMLU's format and texts, of the words that the tokenizers of the tests know."""
    rows = [[question, *options, str(LETTERS.index(answer))] for question, options, answer in QUESTIONS]
    test, dev = write_subject(folder, "cats", rows, rows[::-1])
    texts = [question.lower() for question, _, _ in QUESTIONS]
    return [
        *write_mmlu(folder, "cats", test, dev),
        *write_texts(folder, "texts", texts, ["on the mat"] * len(texts), generation),
    ]


def evaluate(model: str, model_args: dict[str, Any], tasks: list[str], folder: Path, **options: Any) -> Any:
    """The harness's results and samples."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    return simple_evaluate(
        model=model,
        model_args=model_args,
        tasks=tasks,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        device="cpu",
        **options,
    )


def samples_of(results: Any) -> dict[str, list[Sample]]:
    """Task → its requests with their answers, in order."""
    found = {}
    for task, samples in results["samples"].items():
        ordered = sorted(samples, key=lambda sample: sample["doc_id"])
        found[task] = [
            Sample(arguments, answer[0] if isinstance(answer, (list, tuple)) and len(answer) == 1 else answer)
            for sample in ordered
            for arguments, answer in zip(_arguments(sample["arguments"]), sample["resps"], strict=True)
        ]
    return found


def _arguments(arguments: Any) -> list[Any]:
    return list(arguments.values()) if isinstance(arguments, dict) else list(arguments)


def differences(theirs: Any, ours: Any) -> dict[str, float]:
    """Task → largest difference of a log-likelihood (nats); texts and argmaxes must be the same."""
    found = {}
    for (task, left), (other, right) in zip(samples_of(theirs).items(), samples_of(ours).items(), strict=True):
        assert task == other
        assert [sample.arguments for sample in left] == [sample.arguments for sample in right]
        found[task] = max(_difference(a.answer, b.answer) for a, b in zip(left, right, strict=True))
    return found


def _difference(theirs: Any, ours: Any) -> float:
    if isinstance(theirs, str):
        assert ours == theirs
        return 0.0
    theirs, ours = np.atleast_1d(theirs), np.atleast_1d(ours)
    assert theirs[1:].tolist() == ours[1:].tolist(), "not the same argmaxes"
    return abs(float(theirs[0]) - float(ours[0]))


def ties_of(results: Any, tolerance: float) -> dict[str, float]:
    """Task → share of its questions whose two best options lie so near (nats) that rounding decides between them."""
    found = {}
    for task, samples in results["samples"].items():
        scores = [
            sorted((float(np.ravel(answer)[0]) for answer in sample["resps"]), reverse=True) for sample in samples
        ]
        found[task] = sum(best - second <= tolerance for best, second, *_ in scores) / len(scores)
    return found


def numbers_of(results: Any) -> dict[str, dict[str, float]]:
    """Task → metric → value."""
    return {
        task: {name: value for name, value in of.items() if isinstance(value, float) and "stderr" not in name}
        for task, of in results["results"].items()
    }
