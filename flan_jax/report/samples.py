"""The report's sample predictions: prompt, answer and references of some examples of every task."""

import dataclasses
import math
from collections.abc import Sequence

from flan_jax.errors import UserError
from flan_jax.eval.examples import Prediction
from flan_jax.eval.suites import StepResults
from flan_jax.report.html import Markup, element
from flan_jax.report.run import Run
from flan_jax.report.tables import percent

_LONGEST = 1200


@dataclasses.dataclass(frozen=True)
class _Answers:
    """A column of answers: an evaluation of a run, and its title on the page."""

    run: Run
    results: StepResults
    label: str

    def has(self, task: str) -> bool:
        """Tells whether that evaluation has the task."""
        return any(task == result.name for members in self.results.suites.values() for result in members)


def sample_predictions(runs: Sequence[Run], most: int) -> list[Markup]:
    """Builds a folded block for each task; what several runs, or one run before and after, answer stands one under the other."""
    sources = _sources(runs)
    blocks, shown = [], set()
    for suite in dict.fromkeys(suite for source in sources for suite in source.results.suites):
        tasks = dict.fromkeys(r.name for source in sources for r in source.results.suites.get(suite, []))
        fresh = [task for task in tasks if task not in shown]
        if fresh:
            blocks.append(element("h3", suite))
            blocks += [_task(sources, task, most) for task in fresh]
            shown.update(fresh)
    return blocks


def _sources(runs: Sequence[Run]) -> list[_Answers]:
    """The newest evaluation of each run; of a single run the first one too, where it has another."""
    if len(runs) == 1 and runs[0].before is not None and runs[0].last is not None:
        steps = (runs[0].before, runs[0].last)
        return [_Answers(runs[0], results, f"step {results.step}") for results in steps]
    return [_Answers(run, run.last, run.name if len(runs) > 1 else "") for run in runs if run.last is not None]


def _task(sources: Sequence[_Answers], task: str, most: int) -> Markup:
    answers: list[tuple[str, dict[tuple[int, int], Prediction]]] = []
    problems = []
    # Of several runs the first chooses the examples, of one run its newest answers do; the others' are sought.
    before_and_after = sources[0].run is sources[-1].run
    for source in reversed(sources) if before_and_after else sources:
        if not source.has(task):
            continue
        try:
            found = source.run.predictions(source.results.step, task, most if not answers else 10**6)
            answers.append((source.label, {(p.example_id, p.template_id): p for p in found}))
        except UserError as error:
            problems.append(element("p", str(error), class_="missing"))
    chosen = list(answers[0][1])[:most] if answers else []
    shown = answers[::-1] if before_and_after else answers
    examples = [_example(key, shown) for key in chosen]
    return element("details", element("summary", task), problems, examples)


def _example(key: tuple[int, int], answers: Sequence[tuple[str, dict[tuple[int, int], Prediction]]]) -> Markup:
    example = next(found[key] for _, found in answers if key in found)
    given = [
        element(
            "p",
            element("strong", f"{label}: ") if label else None,
            _verdict(found[key]),
            " ",
            element("q", _shortened(found[key].prediction)),
            _options(found[key]),
        )
        for label, found in answers
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
    """Shows the options with the softmax of their log-likelihoods."""
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
