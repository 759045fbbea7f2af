import dataclasses

import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Equal, Proportional
from flan_jax.mixing.table import RateRow, RateTable, rate_table


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


SIZES = {"a_zs_opt": 100, "b_zs_opt": 300, "c_zs_opt": 50}
TOKENS = {"a_zs_opt": 10.0, "b_zs_opt": 50.0, "c_zs_opt": 20.0}


@pytest.fixture
def three(make_task):
    return Mixture("m", tuple(Entry(make_task(name)) for name in "bac"), Equal(), unit="tokens")


def test_what_a_run_draws_stands_beside_what_was_asked(three):
    table = rate_table(
        three, SIZES, mean_tokens=TOKENS, draws=17, counts={"a_zs_opt": 11, "b_zs_opt": 1, "c_zs_opt": 4}
    )
    b, a, c = table.rows
    assert [row.share for row in (a, b, c)] == pytest.approx([10 / 17, 2 / 17, 5 / 17])
    assert [row.token_share for row in (a, b, c)] == pytest.approx([1 / 3] * 3)
    assert [row.draws for row in (a, b, c)] == [11, 1, 4]
    assert [row.realized_share for row in (a, b, c)] == pytest.approx([11 / 16, 1 / 16, 4 / 16])
    assert [row.realized_tokens for row in (a, b, c)] == [110, 50, 80]
    assert [row.realized_token_share for row in (a, b, c)] == pytest.approx([11 / 24, 5 / 24, 8 / 24])
    assert [row.realized_epochs for row in (a, b, c)] == pytest.approx([0.11, 1 / 300, 0.08])


def test_the_total_adds_up(three):
    counts = {"a_zs_opt": 10, "b_zs_opt": 2, "c_zs_opt": 5}
    total = rate_table(three, SIZES, mean_tokens=TOKENS, draws=17, counts=counts).total
    assert (total.task, total.examples, total.rate, total.draws, total.realized_tokens) == ("total", 450, 3, 17, 300)
    assert [total.share, total.token_share, total.realized_share, total.realized_token_share] == pytest.approx([1] * 4)
    assert total.mean_tokens == pytest.approx(300 / 17)
    assert [total.epochs, total.realized_epochs] == pytest.approx([17 / 450] * 2)
    bare = rate_table(dataclasses.replace(three, unit="examples"), SIZES).total
    assert (bare.mean_tokens, bare.epochs, bare.draws, bare.realized_tokens) == (None, None, None, None)


def test_what_is_left_out_need_not_be_known(make_task):
    mixture = Mixture("m", (Entry(make_task("a"), 0), Entry(make_task("b"))))
    table = rate_table(mixture, {"b_zs_opt": 10}, mean_tokens={"b_zs_opt": 3.0}, draws=20, counts={"b_zs_opt": 20})
    a, b = table.rows
    assert (a.examples, a.share, a.epochs, a.mean_tokens, a.draws, a.realized_share) == (None, 0, 0, None, 0, 0)
    assert (b.realized_epochs, table.total.epochs, table.total.examples) == (2, 2, 10)


def test_where_sizes_are_from_is_counted():
    rows = [
        RateRow(str(at), "c", 5, None, 1, 0.25, examples_from=said)
        for at, said in enumerate(("store", None, "cases", "store"))
    ]
    table = RateTable("m", "examples", tuple(rows))
    assert table.sizes_from == "1 task as FLAN's public code counts them; 2 tasks in the store"
    assert RateTable("m", "examples", (rows[1],)).sizes_from == ""


def test_orders(three):
    def names(order):
        table = rate_table(three, SIZES, mean_tokens=TOKENS, draws=17).sorted(order)
        return [row.task[0] for row in table.rows]

    assert names("name") == ["a", "b", "c"]
    assert names("share") == ["a", "c", "b"]
    assert names("examples") == ["b", "a", "c"]
    assert names("epochs") == ["a", "c", "b"]
    with pytest.raises(UserError, match="Did you mean 'share'"):
        names("shares")
    with pytest.raises(UserError, match="--draws N"):
        rate_table(three, SIZES, mean_tokens=TOKENS).sorted("epochs")
