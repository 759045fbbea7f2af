"""The examples that a page embeds, each with the answers of all evaluations; how many there are is said beside."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.eval.examples import Prediction
from flan_jax.eval.overlap import DEFINITIONS
from flan_jax.report.predictions import TaskPredictions

MOST = 3000
"""Examples on a page."""
MOST_OF_A_TASK, FEWEST_OF_A_TASK = 400, 2
MOST_CHARACTERS = 2_000_000
"""Of prompts and references on a page; every task has the same part of them."""
LONGEST = 6000
"""Characters of a text; a longer one keeps its beginning and its end."""
_REFERENCES = 10
_OPTIONS = 100


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation whose answers are shown.

    Attributes:
        run: its place on the page.
        name: of the run.
        step: training steps taken.
        answers: by task.
    """

    run: int
    name: str
    step: int
    answers: Mapping[str, TaskPredictions]


def most_of_a_task(tasks: int) -> int:
    """Returns how many examples of each of so many tasks a page embeds.

    >>> most_of_a_task(1), most_of_a_task(60), most_of_a_task(1836)
    (400, 50, 2)
    """
    return max(FEWEST_OF_A_TASK, min(MOST_OF_A_TASK, MOST // max(tasks, 1)))


def example_rows(sources: Sequence[Evaluation], most: int) -> dict[str, Any]:
    """Collects examples by task, JSON values: ``total``, ``shown`` and ``rows``.

    The newest evaluation of the first run that has the task chooses the examples; the others' answers to the same
    examples stand beside. A row's ``answers`` has one entry a source, ``None`` where it did not answer.
    """
    names = dict.fromkeys(task for source in sources for task in source.answers)
    # The newest evaluation of a run comes behind its first.
    order = sorted(range(len(sources)), key=lambda at: (sources[at].run, -sources[at].step))
    characters = MOST_CHARACTERS // max(len(names), 1)
    return {name: _task(name, sources, order, most, characters) for name in names}


def _task(name: str, sources: Sequence[Evaluation], order: Sequence[int], most: int, characters: int) -> dict[str, Any]:
    found = [source.answers.get(name) for source in sources]
    chosen = next(answers for at in order if (answers := found[at]) is not None)
    answered = [{} if answers is None else {_key(p): p for p in answers.sample} for answers in found]
    rows: list[dict[str, Any]] = []
    for prediction in chosen.sample[:most]:
        row = _row(prediction, [by_key.get(_key(prediction)) for by_key in answered])
        characters -= len(row["inputs"]) + sum(map(len, row["references"]))
        if characters < 0 and rows:
            break
        rows.append(row)
    rows.sort(key=lambda row: (row["example"], row["template"]))
    return {"total": chosen.total, "shown": len(rows), "rows": rows}


def _row(prediction: Prediction, answers: Sequence[Prediction | None]) -> dict[str, Any]:
    return {
        "example": prediction.example_id,
        "template": prediction.template_id,
        "inputs": shortened(prediction.inputs),
        "options": [shortened(option) for option in prediction.options[:_OPTIONS]],
        "references": [shortened(reference) for reference in prediction.references[:_REFERENCES]],
        **({"overlap": prediction.overlap} if prediction.overlap in DEFINITIONS else {}),
        "more_references": max(len(prediction.references) - _REFERENCES, 0),
        "answers": [None if answer is None else _answer(answer) for answer in answers],
    }


def _answer(prediction: Prediction) -> dict[str, Any]:
    scores = [round(score, 4) for score in prediction.option_scores[:_OPTIONS]]
    return {
        "text": shortened(prediction.prediction),
        "score": round(prediction.score, 4),
        **({"option_scores": scores} if scores else {}),
        **({"log_likelihood": prediction.log_likelihood} if prediction.log_likelihood is not None else {}),
    }


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cuts a long text in the middle: a prompt's end has the question and the options.

    >>> shortened("abcdefghij", 4)
    'ab […6 characters…] ij'
    """
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} […{len(text) - 2 * half:,} characters…] {text[-half:]}"


def _key(prediction: Prediction) -> tuple[int, int]:
    return prediction.example_id, prediction.template_id
