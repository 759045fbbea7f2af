import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.rates import Proportional
from flan_jax.mixing.table import rate_table


def test_the_table_worked_by_hand(make_task):
    mixture = Mixture(
        "m",
        (Entry(make_task("a")), Entry(make_task("b", "topic")), Entry(make_task("c"), 1000)),
        Proportional(cap=3000),
    )
    sizes = {"a_zs_opt": 1000, "b_zs_opt": 30_000, "c_zs_opt": 50}
    tokens = {"a_zs_opt": 100.0, "b_zs_opt": 200.0, "c_zs_opt": 200.0}
    a, b, c = rate_table(mixture, sizes, mean_tokens=tokens, draws=10_000).rows
    assert (a.task, a.cluster, a.examples, a.cap, a.rate, a.share) == ("a_zs_opt", "sentiment", 1000, None, 1000, 0.2)
    assert (b.cluster, b.cap, b.rate, b.share) == ("topic", 3000, 3000, 0.6)
    assert (c.cap, c.rate, c.share, c.mean_tokens) == (None, 1000, 0.2, 200)
    assert [row.token_share for row in (a, b, c)] == pytest.approx([20 / 180, 120 / 180, 40 / 180])
    assert [row.epochs for row in (a, b, c)] == pytest.approx([2, 0.2, 40])


def test_what_is_not_known_stays_open(make_task):
    (row,) = rate_table(Mixture("m", (Entry(make_task("a")),)), {"a_zs_opt": 5}).rows
    assert (row.mean_tokens, row.token_share, row.epochs) == (None, None, None)
    with pytest.raises(UserError, match="mean length of task 'a_zs_opt'"):
        rate_table(Mixture("m", (Entry(make_task("a")),)), {"a_zs_opt": 5}, mean_tokens={})


def test_an_empty_task_that_is_left_out_has_a_row(make_task):
    rows = rate_table(
        Mixture("m", (Entry(make_task("a"), 0), Entry(make_task("b")))), {"a_zs_opt": 0, "b_zs_opt": 5}, draws=10
    )
    assert [(row.share, row.epochs) for row in rows.rows] == [(0, 0), (1, 2)]
