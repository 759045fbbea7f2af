import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics.deviations import added_freedom, effective_number, example_deviations, widening
from flan_jax.eval.statistics.intervals import bonett_price, suite_intervals, task_intervals, wilson
from flan_jax.eval.statistics.levels import DEFAULT_LEVELS, LEVELS, join_levels, parse_levels
from flan_jax.eval.statistics.sample import TaskSample, task_sample

ACCURACY = METRICS.get("accuracy")
TOOLS = Path(__file__).parents[3] / "tools" / "statistics"


def sample(values, *, name="t", cluster="c", metric=ACCURACY, **more):
    rows = np.asarray(values, np.float64)
    return TaskSample(name, cluster, metric, rows[:, None] if rows.ndim == 1 else rows, **more)


def suite(seed=0, *, clusters=6, of=3, between=1.0, n=60):
    rng = np.random.default_rng(seed)
    made = []
    for number in range(clusters):
        center = rng.normal(0.5, between)
        for task in range(of):
            which = rng.integers(4, size=n)
            logits = rng.normal(center, 0.3) + rng.normal(0, 0.5, 4)[which]
            right = rng.random(n) < 1 / (1 + np.exp(-logits))
            made.append(sample(right, name=f"{number}/{task}", cluster=str(number), templates=which))
    return made


def width(interval):
    return interval[1] - interval[0]


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module("check_intervals")
    finally:
        sys.path.remove(str(TOOLS))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("shares", "share p=0.95 n=20"),
        ("graded", "graded scores n=20"),
        ("corpus_metrics", "f1_of:1 n=50"),
        ("suites", "suite of 5 tasks, n=20"),
        ("differences", "difference +0.1 -0.05 n=50"),
        ("templates", "10 templates spread 0.5, n=100"),
        ("tasks", "10 tasks drawn, n=20"),
        ("clusters", "5 clusters, equal sizes, between 0.7, within 0.3"),
    ],
)
def test_intervals_cover_the_truth_about_95_times_in_100(study, kind, name):
    world = next(world for world in getattr(study, kind)() if world.name == name)
    # The tool's counts of 1,000 draws lie between 92 and 98%; 120 draws add a deviation of 2 points.
    assert 0.88 < study.coverage(world, 120)["coverage"] < 1


def test_every_set_of_levels_has_a_name_and_an_interval():
    found = suite_intervals(suite())
    assert len(found) == 2 ** len(LEVELS) - 1
    assert next(iter(found)) == DEFAULT_LEVELS == "example"
    assert set(found) == {join_levels(parse_levels(name)) for name in found}
    # More levels taken for chance never make the answer surer.
    for name, interval in found.items():
        for other, wider in found.items():
            if set(parse_levels(name)) <= set(parse_levels(other)):
                assert wider[0] <= interval[0] <= interval[1] <= wider[1]


def test_levels_that_are_not_there_have_no_interval():
    one = sample([1, 0, 1, 1, 0])
    assert set(task_intervals(one)) == {"example"}
    assert set(task_intervals(dataclasses.replace(one, templates=np.asarray([0, 0, 1, 1, 1])))) == {
        "example", "template", "example+template",
    }  # fmt: skip
    two = [sample([1, 0, 1], name="a"), sample([1, 1, 0], name="b")]
    assert set(suite_intervals(two)) == {"example", "task", "example+task"}


def test_a_level_that_is_not_taken_for_chance_is_taken_out():
    """Tasks that differ by their examples alone have no width of their own; very different ones keep almost all."""
    rng = np.random.default_rng(0)
    same = [sample(rng.random(20) < 0.5, name=str(number)) for number in range(30)]
    found = suite_intervals(same)
    assert width(found["task"]) < 0.5 * width(found["example+task"])
    assert width(found["example+task"]) == pytest.approx(width(found["example"]), rel=0.3)
    unlike = [sample(rng.random(500) < p, name=str(p)) for p in np.linspace(0.05, 0.95, 12)]
    found = suite_intervals(unlike)
    assert width(found["task"]) == pytest.approx(width(found["example+task"]), rel=0.02)
    assert width(found["example+task"]) > 10 * width(found["example"])


def test_tasks_of_one_cluster_that_rise_and_fall_together_count_as_one():
    found = suite_intervals(suite(between=2.0))
    assert width(found["example+task+cluster"]) > 1.5 * width(found["example+task"])
    alike = suite_intervals(suite(between=0.0, clusters=20))
    assert width(alike["cluster"]) < 0.7 * width(alike["example+template+task+cluster"])


def test_few_units_are_widened_by_students_t():
    assert widening(np.inf) == 1
    assert widening(4) == pytest.approx(2.776 / 1.960, abs=1e-3)
    assert effective_number(np.asarray([3, 3, 3])) == pytest.approx(3)
    assert effective_number(np.asarray([10, 1, 1])) == pytest.approx(144 / 102)
    values = np.asarray([0.2, 0.4, 0.5, 0.7, 0.8])
    tasks = [sample(np.full(400, value) + np.tile([1e-3, -1e-3], 200), name=str(value)) for value in values]
    low, high = suite_intervals(tasks)["example+task"]
    half = 2.776 * values.std(ddof=1) / np.sqrt(5)
    np.testing.assert_allclose((low, high), (values.mean() - half, values.mean() + half), atol=0.03)


def test_shares_have_wilsons_interval_and_width_at_both_ends():
    assert task_intervals(sample(np.ones(20)))["example"] == pytest.approx(wilson(20, 20))
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)  # Brown, Cai and DasGupta 2001: n / (n + z²)
    low, high = suite_intervals([sample(np.ones(20), name=name) for name in "ab"])["example"]
    assert low < 0.97
    assert high == 1


def test_a_difference_of_shares_has_that_of_bonett_and_price():
    # Their adjusted Wald interval by hand: (9 - 4) / 52 -+ 1.96 sqrt((13 / 52 - (5 / 52)²) / 52).
    assert bonett_price(8, 3, 50) == pytest.approx((-0.03725, 0.22956), abs=1e-4)
    assert bonett_price(0, 0, 20)[0] < 0 < bonett_price(0, 0, 20)[1]


def test_a_single_graded_score_says_next_to_nothing():
    assert width(task_intervals(sample([0.6]))["example"]) > 0.8


def test_records_asked_under_several_templates_are_drawn_as_one():
    rng = np.random.default_rng(0)
    hard = rng.random(100)
    scores = np.repeat(hard, 4)
    ids, which = np.repeat(np.arange(100), 4), np.tile(np.arange(4), 100)
    crossed = sample(scores, examples=ids, templates=which)
    alone = sample(hard)
    assert crossed.is_crossed
    assert width(task_intervals(crossed)["example"]) == pytest.approx(width(task_intervals(alone)["example"]), rel=0.1)
    assert width(task_intervals(sample(scores))["example"]) < 0.6 * width(task_intervals(alone)["example"])
    nested = sample(scores, examples=ids, templates=ids % 3)
    assert nested.has_repeats
    assert not nested.is_crossed


def test_a_solved_task_has_width_however_often_its_records_are_asked():
    ids = np.repeat(np.arange(20), 3)
    solved = sample(np.ones(60), examples=ids, templates=np.tile(np.arange(3), 20))
    assert task_intervals(solved)["example"] == pytest.approx(wilson(20, 20))
    suite_of_two = [solved, dataclasses.replace(solved, name="other")]
    assert suite_intervals(suite_of_two)["example"][0] < 0.97


def test_chance_of_templates_and_of_the_examples_that_they_share_adds_up():
    rng = np.random.default_rng(0)
    hard, ease = rng.normal(0.5, 0.1, 60), np.tile([-0.04, 0.04], 10)
    ids, which = np.repeat(np.arange(60), 20), np.tile(np.arange(20), 60)
    found = task_intervals(sample(hard[ids] + ease[which], examples=ids, templates=which))
    one, other = width(found["example"]), width(found["template"])
    assert width(found["example+template"]) == pytest.approx(np.hypot(one, other), rel=0.15)
    assert width(found["example+template"]) > 1.2 * max(one, other)


def test_groups_are_drawn_whole_and_have_a_template_where_their_answers_agree_on_it():
    em = METRICS.get("group_em")
    groups = [str(row // 3) for row in range(60)]
    rows = em.statistics(["yes"] * 60, [["yes" if row % 7 else "no"] for row in range(60)])
    more = {"name": "t", "cluster": "c", "examples": range(60), "groups": groups}
    whole = task_sample(em, rows, templates=[row // 3 % 2 for row in range(60)], **more)
    assert whole.rows.shape == (20, 1)
    assert whole.templates.tolist() == [0, 1] * 10
    parted = task_sample(em, rows, templates=[row % 2 for row in range(60)], **more)
    assert parted.templates is None
    assert task_intervals(parted)["example"] == pytest.approx(wilson(int(whole.rows.sum()), 20))


@pytest.mark.parametrize(
    "name", ["pearson", "spearman", "f1_of:2", "mcc:2", "macro_f1:1|2|3", "squad_f1", "bleu", "chrf", "f1a:2"]
)
def test_any_metric_has_intervals(name):
    rng = np.random.default_rng(1)
    references = rng.integers(1, 4, 80).astype(str)
    predictions = np.where(rng.random(80) < 0.7, references, rng.integers(1, 4, 80).astype(str))
    if name in ("bleu", "chrf"):
        words = np.asarray(["one", "two", "three", "four", "five", "six", "seven"])
        references = [" ".join(rng.choice(words, 9)) for _ in range(80)]
        predictions = [text if row % 2 else " ".join(reversed(text.split())) for row, text in enumerate(references)]
    metric = METRICS.get(name)
    rows = metric.statistics(list(predictions), [[text] for text in references])
    measured = task_sample(metric, rows, name="t", cluster="c", templates=np.arange(80) % 5, examples=range(80))
    found = task_intervals(measured)
    assert set(found) == {"example", "template", "example+template"}
    low, high = found["example"]
    assert metric.lowest <= low < measured.value < high <= 1


def test_freedom_of_a_sum_is_satterthwaites():
    rng = np.random.default_rng(0)
    parts = [example_deviations(sample(rng.random(n), name=str(n)), seed=0) for n in (11, 11)]
    equal = dataclasses.replace(parts[1], values=parts[0].values)
    assert added_freedom([parts[0], equal]) == pytest.approx(20)
    assert added_freedom([example_deviations(sample([1.0, 0.0]), seed=0)]) == np.inf


@pytest.mark.parametrize(
    ("name", "message"),
    [("exampel", "Did you mean 'example'"), ("task+task", "twice"), ("", "is no level")],
)
def test_names_of_levels_are_checked(name, message):
    with pytest.raises(UserError, match=message):
        parse_levels(name)
