"""BIG-Bench Hard (Suzgun et al. 2022), direct and with a chain of thought, from a copy of the published repository.

``bbh/TASK.json`` has ``{"examples": [{"input": …, "target": …}]}``, and ``cot-prompts/TASK.txt`` a line that is no part of
the prompt, a line of dashes, a description and three solved questions, whose reasons end in "So the answer is X.".

- With a chain of thought, a prompt is the file's, byte for byte, and ``Q: INPUT``, ``A: Let's think step by step.``. The
  answer is what stands behind the last "answer is" of what was written, without its full stop.
- Direct, the solved questions have their answers alone: ``A: X``, and the prompt ends in ``A:``.

Both are the prompts of the published outputs of Codex. The metric is exact match, white space around it aside. The
published average is over tasks, where logical deduction and tracking shuffled objects, of three files each, count once.
"""

import dataclasses
import functools
from pathlib import Path

from flan_jax.data.benchmarks.benchmark import Benchmark, BenchmarkTask, Question, ReadingChoices, Shot
from flan_jax.data.benchmarks.published_files import read_json, read_text, text_fields
from flan_jax.data.benchmarks.solved_text import split_solved
from flan_jax.errors import UserError, unknown

_ALGORITHMIC = (
    "boolean_expressions", "dyck_languages", "geometric_shapes", "logical_deduction_five_objects",
    "logical_deduction_seven_objects", "logical_deduction_three_objects", "multistep_arithmetic_two", "navigate",
    "object_counting", "temporal_sequences", "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects", "web_of_lies", "word_sorting",
)  # fmt: skip
_LANGUAGE = (
    "causal_judgement", "date_understanding", "disambiguation_qa", "formal_fallacies", "hyperbaton",
    "movie_recommendation", "penguins_in_a_table", "reasoning_about_colored_objects", "ruin_names",
    "salient_translation_error_detection", "snarks", "sports_understanding",
)  # fmt: skip
TASKS = {**dict.fromkeys(_ALGORITHMIC, "algorithmic"), **dict.fromkeys(_LANGUAGE, "nlp")}
"""Task → its category in the paper."""
_WHAT = "an object with 'examples', each of them with 'input' and 'target'"
_PROMPT = "a line of dashes, and behind it a description and solved questions"
_DASHES = "-----"
_MARK = "the answer is "


def tasks(folder: Path) -> dict[str, str]:
    """Lists the tasks that a folder has: name → category.

    Raises:
        UserError: none, or one that BIG-Bench Hard does not have.
    """
    names = sorted(path.stem for path in (folder / "bbh").glob("*.json"))
    if not names:
        raise UserError(f"{str(folder / 'bbh')!r} has no file TASK.json. Put the published files there.")
    for name in names:
        if name not in TASKS:
            raise unknown("task of BIG-Bench Hard", name, TASKS, remedy=f"Rename {name}.json or move it away.")
    return {name: TASKS[name] for name in names}


def read_task(folder: Path, task: str, choices: ReadingChoices, *, reasons: bool) -> BenchmarkTask:
    """Reads a task.

    Args:
        folder: a copy of the repository.
        task: its name.
        choices: as they were made.
        reasons: with a chain of thought.

    Raises:
        UserError: a file is missing or of another form.
    """
    path = folder / "bbh" / f"{task}.json"
    prompts = choices.exemplars or folder / "cot-prompts"
    prompt = prompts if prompts.is_file() else prompts / f"{task}.txt"
    preamble, shots = _solved(prompt, task, reasons=reasons)
    ending = "A: Let's think step by step." if reasons else "A:"
    examples = _examples(path)
    questions = tuple(
        Question(index, f"Q: {asked}\n{ending}", {"question": asked}, (target,))
        for index, (asked, target) in enumerate(examples[: choices.limit] if choices.limit else examples)
    )
    name = f"{'bbh_cot' if reasons else 'bbh'}_{task}"
    return BenchmarkTask(name, TASKS[task], f"{preamble}\n\n", questions, shots)


def _examples(path: Path) -> list[list[str]]:
    content = read_json(path, _WHAT)
    examples = content.get("examples") if isinstance(content, dict) else None
    if not isinstance(examples, list) or not examples:
        found = f"its keys are {', '.join(content) or 'none'}" if isinstance(content, dict) else "it is no object"
        raise UserError(f"{path}: {found}, but {_WHAT} was expected. Fetch it again.")
    return [
        text_fields(example, ("input", "target"), f"{path}, example {index}", "an object with 'input' and 'target'")
        for index, example in enumerate(examples)
    ]


def _solved(path: Path, task: str, *, reasons: bool) -> tuple[str, tuple[Shot, ...]]:
    text = read_text(path, _PROMPT).replace("\r\n", "\n")
    first, dashes, prompt = text.partition(f"\n{_DASHES}\n")
    preamble, solved = split_solved(prompt if dashes else first, str(path))
    shots = []
    for number, (question, answer) in enumerate(solved, start=1):
        if not reasons:
            _, mark, last = answer.rpartition(_MARK)
            if not mark:
                raise UserError(
                    f"{path}: the reasons of solved question {number} do not end in 'So {_MARK}…'. Correct it."
                )
            answer = last.strip().removesuffix(".")
        shots.append(Shot(f"Q: {question}\nA: {answer}\n\n", {"question": question}))
    return preamble, tuple(shots)


_FILES = "bbh/TASK.json and cot-prompts/TASK.txt"
_FOLDERS = ("BIG-Bench-Hard", "bbh", "BIG-Bench-Hard-main")

BBH = Benchmark(
    name="bbh",
    title="BIG-Bench Hard (Suzgun et al. 2022)",
    follows="suzgunmirac/BIG-Bench-Hard: the prompts of its direct outputs",
    version=1,
    shots=3,
    metric="stripped_match",
    predict="generate",
    files=_FILES,
    folders=_FOLDERS,
    marker="cot-prompts",
    tasks=tasks,
    read=functools.partial(read_task, reasons=False),
    exemplars_from="cot-prompts, their answers alone",
    answer_tokens=64,
    stop=("\n\n", "Q:"),
)
BBH_COT = dataclasses.replace(
    BBH,
    name="bbh_cot",
    title="BIG-Bench Hard with a chain of thought (Suzgun et al. 2022)",
    follows="suzgunmirac/BIG-Bench-Hard: cot-prompts, the answer behind 'the answer is'",
    metric="stated_answer",
    read=functools.partial(read_task, reasons=True),
    exemplars_from="cot-prompts",
    answer_tokens=512,
)
