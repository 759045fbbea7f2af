import numpy as np
import pytest

from flan_jax.eval.statistics.noise import expected_range, last_steps, noise_of_run, noise_of_runs


def test_signal_and_noise_by_hand():
    found = noise_of_run({100: 0.2, 200: 0.5, 300: 0.6, 400: 0.58, 500: 0.62}, last=3)
    assert found.signal == pytest.approx(0.42 / 0.5)  # (.62 - .2) / mean of all five
    assert found.deviation == pytest.approx(0.02)
    assert found.noise == pytest.approx(0.02 / 0.6)
    assert found.ratio == pytest.approx(0.84 / (0.02 / 0.6))
    assert (found.scores, found.last) == (5, 3)


def test_steps_are_ordered_as_numbers():
    assert noise_of_run({1000: 0.5, 90: 0.1, 900: 0.5, 800: 0.5}, last=3).noise == 0


def test_noise_alone_shows_the_ratio_that_is_said_of_it():
    rng = np.random.default_rng(0)
    ratios = [noise_of_run(dict(enumerate(0.5 + 0.01 * rng.standard_normal(10))), last=10).ratio for _ in range(800)]
    assert np.mean(ratios) == pytest.approx(expected_range(10), rel=0.05)
    assert expected_range(2) == pytest.approx(1.128, abs=1e-3)
    assert expected_range(10) == pytest.approx(3.078, abs=1e-3)


def test_runs_that_differ_stand_out_of_their_noise():
    rng = np.random.default_rng(1)
    runs = [{step: center + 0.01 * rng.standard_normal() for step in range(8)} for center in (0.4, 0.5, 0.6)]
    found = noise_of_runs(runs)
    assert found.signal == pytest.approx(0.4, rel=0.1)
    assert found.deviation == pytest.approx(0.01, rel=0.5)
    assert found.ratio > 10 * found.by_chance
    ratios = []
    for _ in range(300):
        same = [{step: 0.5 + 0.01 * rng.standard_normal() for step in range(8)} for _ in range(3)]
        ratios.append(noise_of_runs(same).ratio)
    assert np.mean(ratios) == pytest.approx(noise_of_runs(same).by_chance, rel=0.15)
    same = [{step: 0.5 + 0.01 * rng.standard_normal() for step in range(8)} for _ in range(3)]
    assert noise_of_runs(same).ratio < 4 * noise_of_runs(same).by_chance


def test_half_of_the_steps_are_the_last_and_five_at_most():
    assert [last_steps(count) for count in (0, 1, 4, 5, 6, 8, 9, 50)] == [1, 1, 2, 3, 3, 4, 5, 5]
    assert noise_of_run({step: 0.1 * step for step in range(1, 5)}) is None
    assert noise_of_run({1: 0.1, 2: 0.2, 3: 0.5, 4: 0.5, 5: 0.5}).noise == 0


@pytest.mark.parametrize(
    "scores", [{}, {1: 0.5, 2: 0.6}, dict.fromkeys(range(6), 0.0), {**dict.fromkeys(range(6), 0.5), 6: np.nan}]
)
def test_too_few_scores_have_no_noise(scores):
    assert noise_of_run(scores) is None
    assert noise_of_runs([scores, scores]) is None


def test_nothing_moves():
    found = noise_of_run(dict.fromkeys(range(5), 0.5))
    assert (found.signal, found.noise, found.ratio) == (0, 0, 0)
    assert noise_of_run({1: 0.1, 2: 0.5, 3: 0.5, 4: 0.5}, last=3).ratio == np.inf
