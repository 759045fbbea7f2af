"""``report.html``: one self-contained file for a run, or for several side by side."""

from collections.abc import Sequence
from pathlib import Path

from flan_jax.errors import UserError
from flan_jax.eval.examples import TaskResult
from flan_jax.eval.suites import SuiteAverage
from flan_jax.files import atomic_write_text
from flan_jax.report.charts import SERIES_COLORS, loss_chart, score_bar
from flan_jax.report.html import Markup, element
from flan_jax.report.run import Run, by_task, read_runs
from flan_jax.report.samples import sample_predictions
from flan_jax.report.style import CSS
from flan_jax.report.tables import other_metrics, other_text, own_scale, percent, score_interval, score_text, yardstick

_NOTHING = "–"
_SAMPLES = 4
_ANSWER_LEGEND = "Dot: score. Bar: 95% bootstrap interval over examples. Tick: chance."


def write_report(folders: Sequence[Path], output: Path) -> Path:
    """Writes the page of one run, or of several side by side, and returns its path.

    Raises:
        UserError: a folder that does not exist, or an output that cannot be written.
    """
    page = render_report(folders)
    output = Path(output)
    try:
        atomic_write_text(output, page, errors="replace")
    except OSError as error:
        raise UserError(f"{str(output)!r} cannot be written ({error.strerror}). Choose another output.") from error
    return output


def render_report(folders: Sequence[Path]) -> str:
    """Builds the page as text.

    Raises:
        UserError: a folder that does not exist.
    """
    runs = read_runs(folders)
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs side by side"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} · flan_jax"),
        element("style", CSS),
    )
    sections = [_facts(runs), _missing(runs), _results(runs), _history(runs), _loss(runs), _mixture(runs)]
    samples = sample_predictions(runs, _SAMPLES if len(runs) == 1 else _SAMPLES // 2)
    if samples:
        sections.append(element("section", element("h2", "Sample predictions"), _samples_caption(runs), samples))
    sections.append(_configurations(runs))
    body = element("body", element("main", element("h1", title), sections))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _facts(runs: Sequence[Run]) -> list[Markup]:
    blocks = []
    for index, run in enumerate(runs):
        pairs = [(name, value) for name, value in _facts_of(run) if value]
        boxes = [element("div", element("dt", name), element("dd", value)) for name, value in pairs]
        heading = element("h3", _key(index), run.name) if len(runs) > 1 else None
        blocks.append(element("div", heading, element("dl", boxes, class_="facts") if boxes else None))
    return blocks


def _facts_of(run: Run) -> list[tuple[str, str]]:
    loss, rate = run.loss(), run.tokens_per_second()
    held_out = run.manifest.get("held_out_clusters")
    versions = run.manifest.get("versions")
    vocabulary = run.manifest.get("vocabulary")
    return [
        ("mixture", run.mixture),
        ("held-out clusters", ", ".join(map(str, held_out)) if isinstance(held_out, list) else ""),
        ("steps", f"{loss[-1][0]:,}" if loss else ""),
        ("last loss (nats a token)", f"{loss[-1][1]:.3f}" if loss else ""),
        ("tokens a second (median)", f"{rate:,.0f}" if rate else ""),
        ("vocabulary", str(vocabulary.get("name", "")) if isinstance(vocabulary, dict) else ""),
        ("jax", str(versions.get("jax", "")) if isinstance(versions, dict) else ""),
    ]


def _missing(runs: Sequence[Run]) -> Markup | None:
    lines = [element("li", f"{run.name}: {line}" if len(runs) > 1 else line) for run in runs for line in run.missing]
    if not lines:
        return None
    return element("section", element("strong", "Not in this report"), element("ul", lines), class_="missing")


def _results(runs: Sequence[Run]) -> Markup | None:
    suites = list(dict.fromkeys(suite for run in runs if run.last for suite in run.last.suites))
    if not suites:
        return None
    before = any(run.before for run in runs)
    steps = [
        f"{run.name + ': ' if len(runs) > 1 else ''}"
        + (f"before is step {run.before.step}, " if run.before and len(runs) == 1 else "")
        + f"{'after' if run.before and len(runs) == 1 else 'scored at'} step {run.last.step}"
        for run in runs
        if run.last
    ]
    legend = _ANSWER_LEGEND + (" Ring: score before." if before and len(runs) == 1 else "")
    explained = (
        "Majority is the score of always giving the most frequent answer, which looks at the labels. "
        "Spread is the standard deviation over templates."
    )
    table = _single_suite if len(runs) == 1 else _compared_suite
    return element(
        "section",
        element("h2", "Results"),
        element("p", f"Scores in per cent; {'; '.join(steps)}. {legend} {explained}", class_="muted"),
        [table(runs, suite) for suite in suites],
        _notes(runs),
    )


def _suite_heading(runs: Sequence[Run], suite: str) -> Markup:
    held_out = any(run.held_out(suite) for run in runs)
    badge = element("span", "clusters held out of training", class_="badge") if held_out else None
    return element("h3", suite, " ", badge)


def _single_suite(runs: Sequence[Run], suite: str) -> Markup:
    (run,) = runs
    assert run.last is not None
    before, average = by_task(run.before, suite), run.last.averages.get(suite)
    columns = [("task", "name"), ("cluster", "wide"), ("metric", "wide")]
    columns += [("before", "number")] * bool(run.before)
    columns += [("after" if run.before else "score", "number"), ("0 to 100", ""), ("95% interval", "number wide")]
    columns += [("chance", "number wide"), ("majority", "number wide"), ("spread", "number wide"), ("n", "number wide")]
    rows = []
    if average is not None:
        earlier = run.before.averages.get(suite) if run.before else None
        rows.append(_row(columns, run, f"mean of {average.tasks} tasks", "", "", earlier, average, css="mean"))
    for result in sorted(run.last.suites[suite], key=lambda r: (r.cluster, r.name)):
        cells = (result.name, result.cluster, result.metric, before.get(result.name), result)
        rows.append(_row(columns, run, *cells))
        for name in other_metrics(result):
            scores = [other_text(found, name) for found in ([before.get(result.name)] if run.before else []) + [result]]
            rows.append(_cells(columns, ["", "", name, *scores, *[""] * 6], "other"))
    examples = (
        element("p", f"Mean over all {average.n:,} examples: {percent(average.example_mean)}.", class_="muted")
        if average
        else None
    )
    return element("div", _suite_heading(runs, suite), _table(columns, rows), examples)


def _row(
    columns: Sequence[tuple[str, str]],
    run: Run,
    name: str,
    cluster: str,
    metric: str,
    before: TaskResult | SuiteAverage | None,
    after: TaskResult | SuiteAverage,
    *,
    css: str | None = None,
) -> Markup:
    cells: list[object] = [name, cluster, metric, *([score_text(before)] if run.before else []), score_text(after)]
    cells += [_bar(after, before=before), score_interval(after)]
    cells += [yardstick(after, value) for value in (after.chance, after.majority, after.template_spread)]
    cells += [f"{after.n:,}"]
    return _cells(columns, cells, css)


def _bar(
    result: TaskResult | SuiteAverage, *, before: TaskResult | SuiteAverage | None = None, color: int = 0
) -> Markup | str:
    """The score bar of a result; none for a value whose scale is the task's own."""
    if own_scale(result) or result.interval is None:
        return ""
    earlier = None if before is None else before.value
    return score_bar(result.value, result.interval, result.chance, before=earlier, color=color)


def _compared_suite(runs: Sequence[Run], suite: str) -> Markup:
    columns = [("task", "name"), ("cluster", "wide"), ("metric", "wide"), ("chance", "number wide")]
    columns += [(run.name, "") for run in runs]
    results = [by_task(run.last, suite) for run in runs]
    averages = [run.last.averages.get(suite) if run.last else None for run in runs]
    rows = []
    known = next((average for average in averages if average is not None), None)
    if known is not None:
        counts = {average.tasks for average in averages if average is not None}
        name = f"mean of {counts.pop()} tasks" if len(counts) == 1 else "mean of each run's own tasks"
        rows.append(_compared_row(columns, [name, "", "", percent(known.chance)], averages, css="mean"))
    tasks = {name: result for found in reversed(results) for name, result in found.items()}
    for name, result in sorted(tasks.items(), key=lambda item: (item[1].cluster, item[0])):
        first = [name, result.cluster, result.metric, yardstick(result, result.chance)]
        rows.append(_compared_row(columns, first, [found.get(name) for found in results]))
    return element("div", _suite_heading(runs, suite), _table(columns, rows))


def _compared_row(
    columns: Sequence[tuple[str, str]],
    first: Sequence[object],
    found: Sequence[TaskResult | SuiteAverage | None],
    *,
    css: str | None = None,
) -> Markup:
    cells = [[score_text(r), " ", _bar(r, color=index)] if r else _NOTHING for index, r in enumerate(found)]
    return _cells(columns, [*first, *cells], css)


def _history(runs: Sequence[Run]) -> Markup | None:
    """Suite averages of every evaluated step, where there are more than the two of the results table."""
    blocks = []
    for run in runs:
        if len(run.results) > 2:
            suites = list(dict.fromkeys(suite for results in run.results for suite in results.averages))
            columns = [("step", "number"), *((suite, "number") for suite in suites)]
            rows = [
                _cells(
                    columns,
                    [f"{r.step:,}", *(percent(r.averages[s].value if s in r.averages else None) for s in suites)],
                )
                for r in run.results
            ]
            blocks.append(element("div", element("h3", run.name) if len(runs) > 1 else None, _table(columns, rows)))
    return element("section", element("h2", "Averages by step"), blocks) if blocks else None


def _loss(runs: Sequence[Run]) -> Markup | None:
    curves = [(run.name, run.loss()) for run in runs]
    # The colour belongs to the run, so a run without a curve must not shift the others'.
    if not any(points for _, points in curves):
        return None
    keys = [
        element("span", _key(index), f"{name} (last {points[-1][1]:.3f}) ")
        for index, (name, points) in enumerate(curves)
        if points
    ]
    caption = element("figcaption", "Training loss, nats a token. ", keys)
    return element("section", element("h2", "Loss"), element("figure", loss_chart(curves), caption))


def _mixture(runs: Sequence[Run]) -> Markup | None:
    blocks = []
    for index, run in enumerate(runs):
        columns = [("task", "name"), ("cluster", "wide"), ("examples there are", "number wide")]
        columns += [("% of examples asked for", "number"), ("% of examples drawn", "number")]
        columns += [("examples drawn", "number wide"), ("epochs", "number wide"), ("% of loss tokens", "number wide")]
        columns += [("first loss", "number"), ("last loss", "number")]
        rows = [
            _cells(
                columns,
                [
                    row.task,
                    row.cluster,
                    _count(row.size),
                    _share(row.asked),
                    _share(row.drawn),
                    _count(row.examples),
                    _NOTHING if row.epochs is None else f"{row.epochs:.2f}",
                    _share(row.loss_tokens),
                    _loss_text(row.first_loss),
                    _loss_text(row.last_loss),
                ],
            )
            for row in run.mixture_rows()
        ]
        if rows:
            heading = element("h3", _key(index), run.name) if len(runs) > 1 else None
            blocks.append(element("div", heading, _table(columns, rows)))
    if not blocks:
        return None
    explained = (
        "Examples asked for are those of the weights in force over the steps taken: a curriculum's while it lasted, new ones "
        "from when they were set, none of a task that ended. The loss counts tokens, so a task with long targets has "
        "more of them than of the examples. Losses are those of the first and the last logged window."
    )
    early = [run.name for run in runs if run.mixture_rows() and not run.sampled()]
    if early:
        explained += (
            f" {', '.join(early)} did not record what was drawn: asked for is what the weights say at its beginning."
        )
    return element("section", element("h2", "Mixture"), element("p", explained, class_="muted"), blocks)


def _samples_caption(runs: Sequence[Run]) -> Markup:
    before_and_after = len(runs) == 1 and runs[0].before is not None
    which = "The first evaluation and the newest" if before_and_after else "The newest evaluation"
    words = f"{which}. Wrong and right answers in turn where both occur, so their proportion says nothing."
    return element("p", words, class_="muted")


def _configurations(runs: Sequence[Run]) -> Markup | None:
    blocks = [
        element("details", element("summary", f"config.gin of {run.name}"), element("pre", run.config))
        for run in runs
        if run.config
    ]
    return element("section", element("h2", "Configuration"), blocks) if blocks else None


def _notes(runs: Sequence[Run]) -> Markup | None:
    notes = [
        element("li", f"{run.name + ', ' if len(runs) > 1 else ''}{result.name}: {note}")
        for run in runs
        if run.last
        for result in {r.name: r for members in run.last.suites.values() for r in members}.values()
        for note in result.notes
    ]
    unlike = [f"{run.name + ', ' if len(runs) > 1 else ''}{line}" for run in runs for line in run.unlike()]
    unlike += [line for run in runs[1:] for line in runs[0].unlike_run(run)]
    notes = [*(element("li", line) for line in unlike), *notes]
    return element("ul", notes, class_="missing") if notes else None


def _table(columns: Sequence[tuple[str, str]], rows: Sequence[Markup]) -> Markup:
    names = [element("th", name, class_=css or None, scope="col") for name, css in columns]
    table = element("table", element("thead", element("tr", names)), element("tbody", rows))
    return element("div", table, class_="scroll")


def _cells(columns: Sequence[tuple[str, str]], cells: Sequence[object], css: str | None = None) -> Markup:
    made = [element("td", cell, class_=own or None) for (_, own), cell in zip(columns, cells, strict=True)]
    return element("tr", made, class_=css)


def _key(index: int) -> Markup:
    return element("span", class_=f"key series-{index % SERIES_COLORS}")


def _count(value: int | None) -> str:
    return _NOTHING if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2%}"


def _loss_text(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"
