"""A table of runs: rows on the simplex, runs that serve again when a unit is added."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.studies.fits.table import RunTable, joined


def table(weights: list[list[float]], *, units: str = "abc", loss: list[float] | None = None) -> RunTable:
    count = len(weights)
    return RunTable(
        tuple(f"run_{at:04d}" for at in range(count)),
        tuple(units),
        np.array(weights),
        {"loss": np.arange(count) if loss is None else np.array(loss), "accuracy": np.linspace(0, 1, count)},
        {"loss": False, "accuracy": True},
    )


def test_rounded_rows_are_brought_to_sum_one() -> None:
    own = table([[0.333, 0.333, 0.333], [0.5, 0.5, 0]])
    assert own.weights.sum(axis=1) == pytest.approx([1, 1], abs=1e-12)


def test_losses_turn_what_is_better_when_higher() -> None:
    own = table([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert own.losses("accuracy").tolist() == [0, -0.5, -1]
    assert own.losses("loss").tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        own.losses("acuracy")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.4, 0.0], "'run_0001': its weights sum to 0.9, not to 1"),
        ([1.2, -0.2, 0.0], "'run_0001', unit 'a': the weight 1.2"),
        ([0.8, -0.2, 0.4], "'run_0001', unit 'b': the weight -0.2"),
        ([float("nan"), 0.5, 0.5], "'run_0001', unit 'a': the weight nan"),
    ],
)
def test_rows_off_the_simplex_are_refused_by_name(row: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table([[1, 0, 0], row])


def test_runs_without_a_score_are_left_out() -> None:
    own = table([[1, 0, 0], [0, 1, 0], [0, 0, 1]], loss=[1.0, float("nan"), 3.0])
    assert own.with_scores("loss").runs == ("run_0000", "run_0002")
    with pytest.raises(UserError, match="No run has a score of the objective 'loss'"):
        table([[1, 0, 0]], loss=[float("nan")]).losses("loss")


def test_replicates_share_a_point() -> None:
    own = table([[0.2, 0.3, 0.5], [1, 0, 0], [0.2, 0.3, 0.5 + 1e-12]])
    first, second, third = own.points()
    assert first == third != second


def test_an_added_unit_has_weight_zero_in_the_runs_that_exist() -> None:
    both = joined([table([[1, 0, 0], [0, 1, 0]]), table([[0.5, 0.2, 0.2, 0.1]], units="dcba")])
    assert both.units == ("a", "b", "c", "d")
    assert both.runs == ("0/run_0000", "run_0001", "1/run_0000")
    assert both.weights == pytest.approx(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0.1, 0.2, 0.2, 0.5]]))
    with pytest.raises(UserError, match="'c' has weight in run '1/run_0000'"):
        both.with_units("abd")
