import numpy as np
import pytest
import scipy.stats

from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics.holm import holm
from flan_jax.eval.statistics.paired import PairedTask, compare, difference, paired_scores
from flan_jax.eval.statistics.sample import TaskSample
from flan_jax.eval.statistics.sign_flip import flip_values


def graded(seed, n, *, shift=0.0):
    rng = np.random.default_rng(seed)
    first = rng.random(n)
    return first, np.clip(first + rng.normal(shift, 0.2, n), 0, 1)


def right_or_wrong(won, lost, both, neither):
    first = [0] * won + [1] * lost + [1] * both + [0] * neither
    second = [1] * won + [0] * lost + [1] * both + [0] * neither
    return first, second


def by_metric(name, predictions, references):
    metric = METRICS.get(name)
    samples = [TaskSample("t", "c", metric, metric.statistics(own, references)) for own in predictions]
    return PairedTask(samples[0], samples[1], *(metric.example_scores(sample.rows) for sample in samples))


def test_holm_by_hand():
    # Five tests, in order: .005 x 5, .011 x 4, .02 x 3, .04 x 2, .13 x 1; each at least the one before.
    assert holm([0.02, 0.005, 0.13, 0.011, 0.04]) == pytest.approx([0.06, 0.025, 0.13, 0.044, 0.08])
    assert holm([0.02, 0.021, 0.5]) == pytest.approx([0.06, 0.06, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_right_or_wrong_is_mcnemars_exact_test():
    found = difference([paired_scores(*right_or_wrong(14, 5, 40, 21))], name="t")
    assert found.p == pytest.approx(scipy.stats.binomtest(14, 19).pvalue)
    assert (found.wins, found.ties, found.losses, found.test) == (14, 61, 5, "exact")
    assert found.difference == pytest.approx(9 / 80)
    assert found.interval[0] < found.difference < found.interval[1]


@pytest.mark.parametrize("n", [12, 60])
def test_graded_scores_agree_with_scipys_permutation_test(n):
    first, second = graded(n, n, shift=0.08)
    found = difference([paired_scores(first, second)], name="t")
    theirs = scipy.stats.permutation_test(
        (second, first),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    assert found.test == ("exact" if n == 12 else "sampled")
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12 if n == 12 else 0.01)


def test_large_samples_agree_with_the_t_test_and_wilcoxon_decides_alike():
    first, second = graded(0, 400, shift=0.03)
    found = difference([paired_scores(first, second)], name="t")
    t = scipy.stats.ttest_rel(second, first)
    assert found.p == pytest.approx(t.pvalue, abs=0.01)
    np.testing.assert_allclose(found.interval, t.confidence_interval(), atol=0.003)
    assert (found.p < 0.05) == (scipy.stats.wilcoxon(second, first).pvalue < 0.05)


def test_pairing_sees_what_two_intervals_do_not():
    rng = np.random.default_rng(0)
    first = (rng.random(300) < 0.6).astype(float)
    second = np.where(rng.random(300) < 0.12, 1, first)
    found = difference([paired_scores(first, second)], name="t")
    unpaired = 1.96 * np.sqrt((first.var() + second.var()) / 300)
    assert found.p < 0.01
    assert found.difference < unpaired


@pytest.mark.parametrize("name", ["f1_of:1", "spearman", "bleu"])
def test_metrics_that_are_no_means_are_swapped_example_by_example(name):
    rng = np.random.default_rng(3)
    labels = rng.integers(1, 4, 40).astype(str)
    noisy = [np.where(rng.random(40) < keep, labels, rng.integers(1, 4, 40).astype(str)) for keep in (0.3, 0.9)]
    if name == "bleu":
        words = np.asarray(["one", "two", "three", "four", "five", "six", "seven"])
        labels = [" ".join(rng.choice(words, 9)) for _ in range(40)]
        noisy = [[text.replace(word, "x") for text in labels] for word in ("two", "seven")]
    pair = by_metric(name, [list(map(str, own)) for own in noisy], [[str(text)] for text in labels])
    found = difference([pair], name="t")
    metric, rng = pair.first.metric, np.random.default_rng(0)
    swaps = rng.integers(2, size=(2000, 40)).astype(bool)
    flipped = [
        metric.of(np.where(swap[:, None], pair.first.rows, pair.second.rows))
        - metric.of(np.where(swap[:, None], pair.second.rows, pair.first.rows))
        for swap in swaps
    ]
    assert found.difference == pytest.approx(pair.second.value - pair.first.value)
    assert found.p == pytest.approx(np.mean(np.abs(flipped) >= abs(found.difference)), abs=0.03)
    assert found.interval[0] < found.difference < found.interval[1]


def test_a_suite_is_compared_by_task_by_cluster_and_as_a_whole():
    pairs = []
    for number in range(6):
        first, second = right_or_wrong(*((12, 2, 30, 6) if number < 3 else (5, 3, 30, 12)))
        pairs.append(paired_scores(first, second, name=f"t{number}", cluster="ab"[number // 3]))
    found = compare(pairs, name="suite")
    assert (found.tasks_won, found.tasks_tied, found.tasks_lost) == (6, 0, 0)
    assert [task.p_holm for task in found.tasks] == pytest.approx(holm([task.p for task in found.tasks]))
    assert found.tasks[0].p < found.tasks[0].p_holm
    assert {cluster.name: cluster.tasks for cluster in found.clusters} == {"a": 3, "b": 3}
    assert found.average.difference == pytest.approx(0.12)
    assert (found.average.wins, found.average.losses) == (51, 15)
    assert found.average.p < 0.001
    assert set(found.average.intervals) >= {"example", "example+task", "example+task+cluster"}
    # Two clusters can be swapped in four ways, and two of them are as large.
    assert compare(pairs, name="suite", swapped="cluster").average.p == pytest.approx(0.5)
    assert compare(pairs, name="suite", swapped="task").average.p == pytest.approx(2 / 64)


def test_the_sampled_test_of_a_suite_is_right_under_the_null():
    """No difference anywhere: p values are uniform, so 10% of them lie below 0.1."""
    rng, below = np.random.default_rng(0), 0
    for trial in range(150):
        pairs = [
            paired_scores(*(np.where(rng.random(40) < 0.5, s, s[::-1]) for s in (rng.random((2, 40)))), name=str(task))
            if task == 0
            else paired_scores(rng.random(40), rng.random(40), name=str(task))
            for task in range(2)
        ]
        below += difference(pairs, name=str(trial)).p < 0.1
    assert 4 <= below <= 27


def test_signs_of_few_values_are_gone_through():
    p, kind = flip_values(np.asarray([0.1, 0.2, 0.4]), observed=0.7, name="t")
    assert (p, kind) == (2 / 8, "exact")
    p, kind = flip_values(np.full(30, 0.1), observed=1.2, name="t")
    assert kind == "sampled"
    assert p == pytest.approx(scipy.stats.binomtest(21, 30).pvalue, abs=0.02)


def test_a_sampled_p_is_never_nothing():
    assert flip_values(np.full(60, 0.1), observed=6.0, name="t") == (1 / 10_000, "sampled")


def test_records_asked_twice_are_swapped_as_one():
    first, second = graded(1, 10, shift=0.1)
    once = difference([paired_scores(first, second)], name="t")
    twice = [np.repeat(own, 2) for own in (first, second)]
    again = difference([paired_scores(*twice, examples=np.repeat(np.arange(10), 2))], name="t")
    assert again.p == pytest.approx(once.p)
    assert difference([paired_scores(*twice)], name="t").p < once.p


def test_records_asked_twice_count_once_in_a_suite_too():
    answers = [right_or_wrong(9, 3, 20, 8), right_or_wrong(12, 6, 30, 12)]
    once = [paired_scores(*own, name=str(row)) for row, own in enumerate(answers)]
    twice = [
        paired_scores(
            *(np.repeat(side, 2) for side in own), name=str(row), examples=np.repeat(np.arange(len(own[0])), 2)
        )
        for row, own in enumerate(answers)
    ]
    found = [difference(pairs, name="s") for pairs in (once, twice)]
    assert found[0].test == "sampled"
    assert found[1].p == pytest.approx(found[0].p, abs=0.01)


def test_equal_models_differ_by_nothing():
    found = difference([paired_scores([1, 0, 1], [1, 0, 1])], name="t")
    assert (found.p, found.difference, found.ties) == (1.0, 0.0, 3)
    assert found.interval[0] < 0 < found.interval[1]
