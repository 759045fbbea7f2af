"""Sample predictions of every task: what the model read, what it answered, what was right."""

import math
from collections.abc import Sequence

from flan_jax.errors import UserError
from flan_jax.eval.examples import Prediction
from flan_jax.report.html import Markup, element
from flan_jax.report.run import Run
from flan_jax.report.tables import percent

_LONGEST = 1200


def sample_predictions(runs: Sequence[Run], most: int) -> list[Markup]:
    """A folded block a task; several runs answer the same examples, one under the other."""
    blocks, shown = [], set()
    for suite in dict.fromkeys(suite for run in runs if run.last for suite in run.last.suites):
        tasks = dict.fromkeys(r.name for run in runs if run.last for r in run.last.suites.get(suite, []))
        fresh = [task for task in tasks if task not in shown]
        if fresh:
            blocks.append(element("h3", suite))
            blocks += [_task(runs, task, most) for task in fresh]
            shown.update(fresh)
    return blocks


def _task(runs: Sequence[Run], task: str, most: int) -> Markup:
    answers: list[tuple[Run, dict[tuple[int, int], Prediction]]] = []
    problems = []
    for run in runs:
        if run.last is None or not any(task == r.name for members in run.last.suites.values() for r in members):
            continue
        try:
            # With several runs the first one chooses the examples, and the others' answers to them are sought.
            found = run.predictions(run.last.step, task, most if not answers else 10**6)
            answers.append((run, {(p.example_id, p.template_id): p for p in found}))
        except UserError as error:
            problems.append(element("p", str(error), class_="missing"))
    chosen = list(answers[0][1])[:most] if answers else []
    examples = [_example(key, answers, several=len(runs) > 1) for key in chosen]
    return element("details", element("summary", task), problems, examples)


def _example(
    key: tuple[int, int], answers: Sequence[tuple[Run, dict[tuple[int, int], Prediction]]], *, several: bool
) -> Markup:
    example = answers[0][1][key]
    given = [
        element(
            "p",
            element("strong", f"{run.name}: ") if several else None,
            _verdict(found[key]),
            " ",
            element("q", _shortened(found[key].prediction)),
            _options(found[key]),
        )
        for run, found in answers
        if key in found
    ]
    wanted = [[" or " if index else "", element("q", _shortened(r))] for index, r in enumerate(example.references[:5])]
    return element(
        "div",
        element("p", f"Example {example.example_id}, template {example.template_id}", class_="muted"),
        element("pre", _shortened(example.inputs) or "(the prompt's text was not saved)"),
        given,
        element("p", "Expected: ", wanted, class_="muted"),
        class_="example",
    )


def _verdict(prediction: Prediction) -> Markup:
    if prediction.score >= 1:
        return element("span", "right", class_="right")
    words = "wrong" if prediction.score <= 0 else f"scored {percent(prediction.score)}"
    return element("span", words, class_="wrong")


def _options(prediction: Prediction) -> Markup | None:
    """The options with the probability that the model gives each among them."""
    scores = prediction.option_scores
    if not scores or not all(map(math.isfinite, scores)):
        return None
    weights = [math.exp(score - max(scores)) for score in scores]
    shares = sorted(zip(weights, prediction.options, strict=True), key=lambda pair: -pair[0])
    words = ", ".join(f"{_shortened(option, 60)} {weight / sum(weights):.0%}" for weight, option in shares[:8])
    more = f" and {len(shares) - 8} more" if len(shares) > 8 else ""
    return element("span", f" ({words}{more})", class_="muted")


def _shortened(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
