"""Mixtures inside mixtures: their tasks share the rate of the whole."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.mixing import mixture as mixtures
from flan_jax.mixing.mixture import Entry, Mixture, Suite, get_mixture, register_mixture
from flan_jax.mixing.policies import Equal, Proportional, UniMax
from flan_jax.mixing.table import rate_table
from flan_jax.mixing.units import UNITS
from flan_jax.tasks.catalog import Registry
from flan_jax.tasks.task import BaseTask


@pytest.fixture
def tasks(make_task):
    """Tasks ``a`` to ``e``, each of its own cluster, by the letter."""
    return {letter: make_task(letter, f"cluster_{letter}", variant="") for letter in "abcde"}


def by_letter(shares):
    return {name.removesuffix("_zs_opt"): share for name, share in shares.items()}


SIZES = {f"{letter}_zs_opt": size for letter, size in zip("abcde", (100, 200, 300, 4000, 50), strict=True)}
TOKENS = {f"{letter}_zs_opt": mean for letter, mean in zip("abcde", (10.0, 20.0, 40.0, 5.0, 8.0), strict=True)}


def test_tasks_share_the_rate_of_their_mixture_and_add_up(tasks):
    inner = Mixture("inner", (Entry(tasks["a"]), Entry(tasks["b"])))  # 1 : 2
    capped = Mixture("capped", (Entry(tasks["b"]), Entry(tasks["d"])), Proportional(cap=200))  # 1 : 1
    outer = Mixture("outer", (Entry(inner, 30), Entry(capped, 50), Entry(tasks["a"], 20)))
    assert by_letter(outer.rates(SIZES)) == pytest.approx({"a": 10 + 20, "b": 20 + 25, "d": 25})
    assert by_letter(outer.weights(SIZES)) == pytest.approx({"a": 0.3, "b": 0.45, "d": 0.25})
    assert outer.entry_weights(SIZES) == pytest.approx({"inner": 0.3, "capped": 0.5, "a_zs_opt": 0.2})
    assert by_letter(outer.caps(SIZES)) == {"d": 200}
    # The rate of the whole matters, not the scale of the rates inside.
    rescaled = Mixture("inner", (Entry(tasks["a"], 0.001), Entry(tasks["b"], 0.002)))
    assert Mixture("outer", (Entry(rescaled, 30), *outer.entries[1:])).weights(SIZES) == pytest.approx(
        outer.weights(SIZES)
    )


def test_without_a_rate_the_policy_decides_by_the_total_size(tasks):
    one = Mixture("one", (Entry(tasks["a"]), Entry(tasks["b"]), Entry(tasks["d"], 0)))
    outer = Mixture("outer", (Entry(one), Entry(tasks["c"])))
    assert outer.entry_rates(SIZES) == {"one": 300, "c_zs_opt": 300}  # d is left out, so it does not count
    assert Mixture("outer", outer.entries, Equal()).weights(SIZES)["c_zs_opt"] == 0.5
    # Nothing need be known of what is left out.
    assert [task.name[0] for task in outer.drawn_tasks] == ["a", "b", "c"]
    assert outer.weights({name: size for name, size in SIZES.items() if name[0] in "abc"})["d_zs_opt"] == 0
    # A task that occurs twice counts once.
    twice = Mixture("twice", (Entry(one), Entry(tasks["a"])))
    assert Mixture("outer", (Entry(twice), Entry(tasks["c"]))).entry_rates(SIZES)["twice"] == 300
    assert Mixture("outer", (Entry(one), Entry(tasks["c"])), UniMax(1, 400)).entry_rates(SIZES)["one"] == 200
    capped = Mixture("capped", (Entry(one), Entry(tasks["c"])), Proportional(cap=150, temperature=2))
    assert capped.entry_rates(SIZES) == pytest.approx({"one": math.sqrt(150), "c_zs_opt": math.sqrt(150)})


def test_units_inside_and_outside_may_differ(tasks):
    # Inside: as many tokens of a as of b, so two draws of a for one of b: 40 tokens in three draws.
    inner = Mixture("inner", (Entry(tasks["a"]), Entry(tasks["b"])), Equal(), unit="tokens")
    beside = Entry(tasks["c"], 1)

    def outer(unit, rate):
        return Mixture("outer", (Entry(inner, rate), beside), unit=unit).weights(SIZES, TOKENS)

    # In examples: half of the draws; in tokens: one token of inner for each of c; in epochs: 300 draws of inner, 300 of c.
    assert by_letter(outer("examples", 1)) == pytest.approx({"a": 1 / 3, "b": 1 / 6, "c": 1 / 2})
    assert by_letter(outer("tokens", 1)) == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})  # 20+20 tokens : 40 tokens
    assert by_letter(outer("epochs", 1)) == pytest.approx({"a": 1 / 3, "b": 1 / 6, "c": 1 / 2})
    assert by_letter(outer("epochs", 2)) == pytest.approx({"a": 4 / 9, "b": 2 / 9, "c": 1 / 3})
    with pytest.raises(UserError, match="'inner' counts its rates in tokens"):
        Mixture("outer", (Entry(inner), beside)).weights(SIZES)


@dataclasses.dataclass(frozen=True)
class NamedTask(BaseTask):
    """All that a mixture asks of a task."""

    name: str
    cluster: str = "any"
    splits: tuple[str, ...] = ("train",)


NAMED = {letter: NamedTask(f"{letter}_zs_opt") for letter in "abcde"}


def nested(draw, numbers, depth=0):
    """A mixture of some of the tasks, three levels deep at most, in any units."""
    kinds = ["task", "mixture"] if depth < 2 else ["task"]
    entries, used = [], set()
    for index in range(draw(st.integers(1, 4))):
        rate = draw(st.none() | st.floats(0.01, 100))
        if draw(st.sampled_from(kinds)) == "mixture":
            entries.append(Entry(nested(draw, numbers, depth + 1), rate))
        elif (name := draw(st.sampled_from("abcde"))) not in used:
            used.add(name)
            entries.append(Entry(NAMED[name], rate))
        elif not index:
            entries.append(Entry(NAMED[name], rate))
    return Mixture(f"m{next(numbers)}", tuple(entries), Equal(), unit=draw(st.sampled_from(UNITS)))


@given(st.data())
def test_shares_follow_the_rates_of_the_entries_at_every_level(data):
    outer = nested(data.draw, itertools.count())
    shares = outer.weights(SIZES, TOKENS)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert list(shares) == [task.name for task in outer.train_tasks]
    parts = outer.entry_weights(SIZES, TOKENS)
    assert math.fsum(parts.values()) == pytest.approx(1, abs=1e-12)
    # What each entry gets, in the unit: draws, tokens (its mean length), or passes over it.
    summed = dict.fromkeys(shares, 0.0)
    got = {}
    for entry in outer.entries:
        inside = entry.task.weights(SIZES, TOKENS) if isinstance(entry.task, Mixture) else {entry.task.name: 1.0}
        for name, share in inside.items():
            summed[name] += parts[entry.task.name] * share
        each = {
            "examples": 1.0,
            "tokens": math.fsum(share * TOKENS[name] for name, share in inside.items()),
            "epochs": 1 / sum(SIZES[task.name] for task in entry.drawn_tasks),
        }[outer.unit]
        got[entry.task.name] = parts[entry.task.name] * each
    assert shares == pytest.approx(summed)
    asked = outer.entry_rates(SIZES, TOKENS)
    scale = math.fsum(asked.values()) / math.fsum(got.values())
    assert {name: value * scale for name, value in got.items()} == pytest.approx(asked)


def test_the_flattened_view(tasks):
    inner = Mixture(
        "inner",
        (Entry(tasks["a"]), Entry(tasks["b"])),
        suites=(Suite("own", (tasks["e"],)),),
        vocabulary="bytes",
        curriculum=(("a_zs_opt", 1.0),),
    )
    outer = Mixture(
        "outer",
        (Entry(tasks["b"]), Entry(inner), Entry(tasks["c"], 0)),
        curriculum=(("a_zs_opt", 3.0), ("b_zs_opt", 1.0)),
    )
    assert [task.name[0] for task in outer.train_tasks] == ["b", "a", "c"]
    assert outer.all_tasks == outer.train_tasks  # e is measured by runs of inner
    assert (outer.suites, outer.vocabulary) == ((), "")
    assert by_letter(outer.curriculum_weights(SIZES)) == {"b": 0.25, "a": 0.75, "c": 0}
    assert Mixture("plain", (Entry(inner),)).curriculum == ()
    with pytest.raises(UserError, match="'c_zs_opt' in its curriculum and leaves it out"):
        Mixture("outer", outer.entries, curriculum=(("c_zs_opt", 1.0),))
    with pytest.raises(UserError, match=r"curriculum of mixture 'outer'.*'d_zs_opt'"):
        Mixture("outer", outer.entries, curriculum=(("d_zs_opt", 1.0),))
    with pytest.raises(UserError, match="'a_zs_opt' twice in its curriculum"):
        Mixture("outer", outer.entries, curriculum=(("a_zs_opt", 1.0), ("a_zs_opt", 2.0)))


def test_a_held_out_cluster_is_found_inside(tasks, make_task):
    inner = Mixture("inner", (Entry(tasks["a"]), Entry(tasks["b"])))
    with pytest.raises(UserError, match=r"'cluster_b' is trained on: b_zs_opt"):
        Mixture("outer", (Entry(inner),), suites=(Suite("out", (make_task("x", "cluster_b"),), held_out=True),))


def test_names_stand_for_one_thing(tasks, make_task):
    inner = Mixture("inner", (Entry(tasks["a"]),))
    with pytest.raises(UserError, match="lists the mixture 'inner' twice"):
        Mixture("outer", (Entry(inner, 1), Entry(inner, 2)))
    with pytest.raises(UserError, match="'inner' for two different mixtures"):
        Mixture(
            "outer",
            (Entry(inner), Entry(Mixture("between", (Entry(Mixture("inner", (Entry(tasks["b"]),))),)))),
        )
    with pytest.raises(UserError, match="'inner' for two different mixtures"):
        Mixture("inner", (Entry(inner),))
    with pytest.raises(UserError, match="'a_zs_opt' for two different tasks"):
        Mixture("outer", (Entry(inner), Entry(make_task("a", template_ids=(0,)))))
    with pytest.raises(UserError, match="Mixture 'inner' has the rate -1"):
        Entry(inner, -1)


def test_a_name_or_a_spec_is_no_entry(tasks):
    with pytest.raises(UserError, match=r"not the name 'rte'. Write Prompted\(SPEC\), or get_mixture\(NAME\)"):
        Entry("rte", 1.0)
    with pytest.raises(UserError, match="not the spec 'a'"):
        Entry(tasks["a"].spec)


def test_a_suite_is_of_tasks(tasks):
    inner = Mixture("inner", (Entry(tasks["a"]),))
    with pytest.raises(UserError, match=r"measures tasks, not the mixture 'inner'\. Give its train_tasks"):
        Suite("s", (inner,))


def test_nothing_to_draw_inside_names_the_mixture(tasks):
    inner = Mixture("inner", (Entry(tasks["a"], 0),))
    with pytest.raises(UserError, match="Every task of mixture 'inner' has the rate 0"):
        Mixture("outer", (Entry(inner, 1), Entry(tasks["b"]))).weights(SIZES)
    assert Mixture("outer", (Entry(inner, 0), Entry(tasks["b"]))).weights(SIZES) == {"a_zs_opt": 0, "b_zs_opt": 1}


def test_a_mixture_that_contains_itself_says_by_which_way(monkeypatch, tasks):
    monkeypatch.setattr(mixtures, "MIXTURES", Registry("mixture"))
    register_mixture("a", lambda: Mixture("a", (Entry(get_mixture("b")),)))
    register_mixture("b", lambda: Mixture("b", (Entry(get_mixture("c")), Entry(tasks["a"]))))
    register_mixture("c", lambda: Mixture("c", (Entry(get_mixture("b")),)))
    with pytest.raises(UserError, match="'b' contains itself: b → c → b"):
        get_mixture("a")
    register_mixture("d", lambda: Mixture("d", (Entry(get_mixture("e")), Entry(tasks["a"]))))
    register_mixture("e", lambda: Mixture("e", (Entry(tasks["b"]),)))
    assert [task.name[0] for task in get_mixture("d").train_tasks] == ["b", "a"]


def test_the_table_shows_nested_mixtures_as_a_whole(tasks):
    inner = Mixture("inner", (Entry(tasks["a"]), Entry(tasks["b"]), Entry(tasks["d"], 0)))
    table = rate_table(Mixture("outer", (Entry(inner, 3), Entry(tasks["a"], 1))), SIZES, draws=400)
    (row,) = table.nested
    assert (row.mixture, row.tasks, row.examples, row.rate, row.share) == ("inner", 2, 300, 3, 0.75)
    assert by_letter({row.task: row.epochs for row in table.rows}) == pytest.approx({"a": 2, "b": 1, "d": 0})
    assert not rate_table(inner, SIZES).nested
