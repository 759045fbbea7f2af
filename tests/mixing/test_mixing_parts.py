"""Parts of a mixture: what is kept and left out, and rates of parts in the place of the mixture's own."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.parts import kept_parts, parts, weighted
from flan_jax.mixing.policies import Proportional, UniMax
from flan_jax.mixing.table import rate_table
from flan_jax.tasks.spec import PromptMode

SIZES = {"a_zs_opt": 100, "a_zs_noopt": 100, "b_zs_opt": 300, "c_zs_opt": 500, "d_zs_opt": 40}
TOKENS = {"a_zs_opt": 10.0, "a_zs_noopt": 10.0, "b_zs_opt": 20.0, "c_zs_opt": 40.0, "d_zs_opt": 5.0}


@pytest.fixture
def mixture(make_task) -> Mixture:
    """Two clusters; ``c`` and ``d`` of the second in a mixture of their own, and a suite that is never trained on."""
    a, b = make_task("a", "first"), make_task("b", "first")
    c, d = make_task("c", "second"), make_task("d", "second")
    inner = Mixture("inner", (Entry(c), Entry(d, 60.0)), Proportional(cap=100))
    return Mixture(
        "m",
        (Entry(a), Entry(dataclasses.replace(a, mode=PromptMode.ZS_NOOPT), 50.0), Entry(b), Entry(inner)),
        Proportional(cap=200),
        suites=(Suite("held_in", (a, b, c)), Suite("held_out", (make_task("h", "third"),), held_out=True)),
        curriculum=(("a_zs_opt", 1.0), ("c_zs_opt", 3.0)),
    )


def shares_of(mixture: Mixture) -> dict[str, float]:
    return {name: share for name, share in mixture.weights(SIZES, TOKENS).items() if share}


def test_names_of_parts(mixture):
    assert parts(mixture) == {
        "a_zs_opt": ("a_zs_opt",),
        "a_zs_noopt": ("a_zs_noopt",),
        "a": ("a_zs_opt", "a_zs_noopt"),
        "b_zs_opt": ("b_zs_opt",),
        "b": ("b_zs_opt",),
        "c_zs_opt": ("c_zs_opt",),
        "c": ("c_zs_opt",),
        "d_zs_opt": ("d_zs_opt",),
        "d": ("d_zs_opt",),
        "first": ("a_zs_opt", "a_zs_noopt", "b_zs_opt"),
        "second": ("c_zs_opt", "d_zs_opt"),
        "inner": ("c_zs_opt", "d_zs_opt"),
    }


def test_weights_of_clusters_by_hand(mixture):
    # By itself: a 100, a without options 50, b 200 (capped), inner 200 (capped) of which c has 100 : 60 to d.
    found = weighted(mixture, {"first": 3, "second": 1})
    assert shares_of(found) == pytest.approx(
        {
            "a_zs_opt": 0.75 * 100 / 350,
            "a_zs_noopt": 0.75 * 50 / 350,
            "b_zs_opt": 0.75 * 200 / 350,
            "c_zs_opt": 0.25 * 100 / 160,
            "d_zs_opt": 0.25 * 60 / 160,
        }
    )
    assert found.caps(SIZES) == {}
    table = rate_table(found, SIZES)
    assert [(row.mixture, row.rate, row.share) for row in table.nested] == [("inner", 1.0, 0.25)]
    assert "run.weights to first, second; inside" in table.notes[0]


def test_weights_of_tasks_and_of_a_nested_mixture(mixture):
    found = shares_of(weighted(mixture, {"a_zs_opt": 1, "a_zs_noopt": 2, "b": 3, "inner": 4}))
    assert found == pytest.approx(
        {"a_zs_opt": 0.1, "a_zs_noopt": 0.2, "b_zs_opt": 0.3, "c_zs_opt": 0.25, "d_zs_opt": 0.15}
    )


def test_a_rate_is_in_the_mixture_s_unit(make_task):
    entries = (Entry(make_task("a", "first")), Entry(make_task("b", "second")))
    found = shares_of(weighted(Mixture("m", entries, unit="tokens"), {"first": 1, "second": 1}))
    assert found == pytest.approx({"a_zs_opt": 2 / 3, "b_zs_opt": 1 / 3})  # as many tokens: half the examples of b


def test_a_part_of_rate_0_is_left_out_and_measured_as_it_was(mixture):
    found = weighted(mixture, {"first": 1, "second": 0})
    assert [task.name for task in found.drawn_tasks] == ["a_zs_opt", "a_zs_noopt", "b_zs_opt"]
    assert found.suites == mixture.suites
    assert found.curriculum == (("a_zs_opt", 1.0),)
    only_drawn = {name: size for name, size in SIZES.items() if name[0] in "ab"}
    assert sum(found.weights(only_drawn).values()) == pytest.approx(1)  # asks for no size of what is left out


def test_weights_leave_the_tasks_alone(mixture):
    assert weighted(mixture, {"first": 3, "second": 1}).train_tasks == mixture.train_tasks
    assert weighted(mixture, {}) is mixture


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1e6), min_size=4, max_size=4).filter(any), st.floats(1e-3, 1e3))
def test_parts_get_what_they_are_given_whatever_its_sum(make_task, rates, factor):
    own = Mixture("m", tuple(Entry(make_task(name, name.upper())) for name in "abcd"))
    rates = [rate if rate > 1e-6 else 0.0 for rate in rates]
    if not any(rates):
        return
    given_rates = dict(zip("ABCD", rates, strict=True))
    sizes = dict.fromkeys((task.name for task in own.train_tasks), 7)
    one = weighted(own, given_rates).weights(sizes)
    other = weighted(own, {name: rate * factor for name, rate in reversed(given_rates.items())}).weights(sizes)
    assert one == pytest.approx(other)
    for name, rate in given_rates.items():
        assert one.get(f"{name.lower()}_zs_opt", 0.0) == pytest.approx(rate / sum(rates))


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"frist": 1, "second": 1}, "Did you mean 'first'"),
        ({"first": 1, "third": 1}, "'third', which mixture 'm' does not train on"),
        ({"first": 1, "second": 1, "a": 1}, "gives task 'a_zs_opt' two rates, by 'first' and by 'a'"),
        ({"first": 1}, "no rate to 2 of the 5 tasks that are trained on: c_zs_opt, d_zs_opt"),
    ],
)
def test_weights_that_do_not_fit_are_refused(mixture, weights, sentence):
    with pytest.raises(UserError, match=sentence):
        weighted(mixture, weights)


def test_a_part_that_the_mixture_leaves_out_has_no_shares(make_task):
    own = Mixture("m", (Entry(make_task("a", "first")), Entry(make_task("b", "second"), 0)))
    with pytest.raises(UserError, match="gives 'second' the rate 2, but the mixture leaves its tasks out"):
        weighted(own, {"first": 1, "second": 2})


def test_weights_over_unimax(make_task):
    own = Mixture("m", (Entry(make_task("a", "first")), Entry(make_task("b", "second"))), UniMax(1, 1e9))
    table = rate_table(weighted(own, {"first": 1, "second": 3}), SIZES)
    assert [row.share for row in table.rows] == [0.25, 0.75]
    assert len(table.notes) == 1  # nothing of a budget that nobody spends


def test_keep_and_leave_out(mixture):
    found = kept_parts(mixture, ("first", "c"), ("a_zs_noopt", "b"))
    assert [task.name for task in found.train_tasks] == ["a_zs_opt", "c_zs_opt"]
    assert [(suite.name, [task.name for task in suite.tasks]) for suite in found.suites] == [
        ("held_in", ["a_zs_opt", "c_zs_opt"]),
        ("held_out", ["h_zs_opt"]),
    ]
    assert [dropped.task for dropped in found.dropped] == ["b", "d"]
    assert found.entries[1].task.policy == Proportional(cap=100)
    assert kept_parts(mixture, (), ()) is mixture


@pytest.mark.parametrize(
    ("keep", "leave_out", "sentence"),
    [
        (("first",), ("a", "b"), "run.keep=first and run.leave_out=a, b has nothing left to train on"),
        (("fist",), (), "Did you mean 'first'"),
        ((), ("third",), "run.leave_out names 'third', which mixture 'm' does not train on"),
    ],
)
def test_parts_that_cannot_be_kept(mixture, keep, leave_out, sentence):
    with pytest.raises(UserError, match=sentence):
        kept_parts(mixture, keep, leave_out)
