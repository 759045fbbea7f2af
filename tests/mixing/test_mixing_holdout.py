"""Holding a part of any mixture out: nothing of it is trained on, and everything else stays as it was."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.mixing.holdout import (
    Holdout,
    HoldoutRules,
    diversity,
    hold_out_clusters,
    hold_out_of,
    hold_out_tasks,
    intra_cluster,
    scored,
)
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.policies import Equal
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec, Template


@dataclasses.dataclass(frozen=True)
class Unread:
    """A source that is only named."""

    splits: tuple[str, ...] = ("train", "test")

    def records(self, split):
        raise AssertionError("a mixture must not read records")

    def fingerprint(self, split):
        return "0"

    def describe(self):
        return "nothing"


def spec(name, *splits):
    return TaskSpec(
        name=name,
        cluster=name[0],
        source=Unread(*([splits] if splits else [])),
        fields=dict,
        templates=(Template("Is this good? {text}"),),
        slots=("text", "answer"),
        options=("yes", "no"),
    )


SPECS = {name: spec(name) for name in ("a1", "a2", "b1", "b2", "c1", "c2", "d1")}
TASKS = {name: Prompted(made) for name, made in SPECS.items()}
BARE = {name: Prompted(made, PromptMode.ZS_NOOPT) for name, made in SPECS.items()}
SIZES = {task.name: 100 * (place + 1) for kind in (TASKS, BARE) for place, task in enumerate(kind.values())}


def mixture(*letters, name="m", **more):
    return Mixture(name, tuple(Entry(TASKS[letter]) for letter in letters or TASKS), **more)


def names(tasks):
    return [task.spec.name for task in tasks]


def suite(made, name="held_out"):
    return next(suite for suite in made.suites if suite.name == name)


def made_from(**origins):
    return lambda spec: frozenset(origins.get(spec.name, ()))


def test_a_cluster_or_a_task_is_measured_instead_of_trained_on():
    held = hold_out_of(mixture(), ["b", "a1"])
    assert held.name == "m_holdout_b_a1"
    assert names(held.train_tasks) == ["a2", "c1", "c2", "d1"]
    assert names(suite(held).tasks) == ["a1", "b1", "b2"]
    assert (suite(held).split, suite(held).held_out) == ("test", False)  # its cluster goes on in a2
    whole = hold_out_of(mixture(), ["b"])
    assert suite(whole).held_out
    weights = whole.weights(SIZES)
    expected = {name: SIZES[f"{name}_zs_opt"] for name in ("a1", "a2", "c1", "c2", "d1")}
    assert weights == pytest.approx({f"{n}_zs_opt": size / sum(expected.values()) for n, size in expected.items()})


def test_nested_mixtures_lose_the_same_and_keep_their_rates_policies_and_names():
    inner = Mixture("inner", (Entry(TASKS["a1"], 3), Entry(TASKS["b1"], 5)))
    deep = Mixture("deep", (Entry(inner), Entry(BARE["b2"]), Entry(TASKS["c1"], 7)), Equal(), unit="tokens")
    gone = Mixture("gone", (Entry(TASKS["b2"]), Entry(BARE["b1"])))
    outer = Mixture("outer", (Entry(deep, 2.5), Entry(gone, 9), Entry(TASKS["d1"], 4)), vocabulary="bytes")
    held = hold_out_of(outer, ["b"])
    assert names(held.train_tasks) == ["a1", "c1", "d1"]
    assert [(entry.task.name, entry.rate) for entry in held.entries] == [("deep", 2.5), ("d1_zs_opt", 4)]
    assert held.vocabulary == "bytes"
    left = held.entries[0].task
    assert (left.policy, left.unit) == (Equal(), "tokens")
    assert [(entry.task.name, entry.rate) for entry in left.entries] == [("inner", None), ("c1_zs_opt", 7)]
    assert left.entries[0].task.explicit_rates == {"a1_zs_opt": 3}
    # Both modes of a task are held out, and it is measured once, with its options.
    assert [task.name for task in suite(held).tasks] == ["b1_zs_opt", "b2_zs_opt"]


def test_a_mixture_of_which_nothing_can_be_drawn_any_more_goes_with_it():
    inner = Mixture("inner", (Entry(TASKS["a1"]), Entry(TASKS["b1"], 0)))
    held = hold_out_of(Mixture("outer", (Entry(inner), Entry(TASKS["c1"]))), ["a"])
    assert held.weights(SIZES) == {"c1_zs_opt": 1.0}
    asleep = Mixture("outer", (Entry(inner, 0), Entry(TASKS["c1"]), Entry(TASKS["d1"])))
    assert hold_out_of(asleep, ["d"]).entries[0] == Entry(inner, 0)


def test_curricula_are_pruned():
    inner = Mixture(
        "inner", (Entry(TASKS["a1"]), Entry(TASKS["b1"])), curriculum=(("b1_zs_opt", 2.0), ("a1_zs_opt", 1.0))
    )
    outer = Mixture(
        "outer",
        (Entry(inner), Entry(TASKS["c1"])),
        curriculum=(("b1_zs_opt", 1.0), ("c1_zs_opt", 3.0), ("a1_zs_opt", 1.0)),
    )
    held = hold_out_of(outer, ["b"])
    assert held.curriculum == (("c1_zs_opt", 3.0), ("a1_zs_opt", 1.0))
    assert held.entries[0].task.curriculum == (("a1_zs_opt", 1.0),)
    assert hold_out_of(mixture("a1", "b1", curriculum=(("b1_zs_opt", 1.0),)), ["b"]).curriculum == ()


def test_suites_keep_what_is_still_trained_on_and_what_was_held_out_before():
    made = mixture(
        "a1", "a2", "b1", "c1",
        suites=(
            Suite("held_out", (TASKS["d1"],), held_out=True),
            Suite("held_in", (TASKS["a1"], TASKS["b1"], TASKS["c1"])),
            Suite("of_b", (TASKS["b1"],)),
            Suite("development", (TASKS["d1"],), split="train", held_out=True),
        ),
    )  # fmt: skip
    held = hold_out_of(made, ["b"], HoldoutRules(related=(("b", "c"),)))
    assert {one.name: names(one.tasks) for one in held.suites} == {
        "held_out": ["b1", "d1"], "held_in": ["a1"], "development": ["d1"],
    }  # fmt: skip
    assert suite(held).held_out
    again = hold_out_of(made, ["d"])  # what is held out already may be named
    assert (names(suite(again).tasks), names(again.train_tasks)) == (["d1"], ["a1", "a2", "b1", "c1"])


def test_what_was_held_out_task_by_task_stays_measured_when_more_is_held_out():
    rules = HoldoutRules(origins=made_from(a1=["wiki"], b1=["wiki"]))
    first = hold_out_of(mixture("a1", "a2", "b2", "c1"), ["a1"], rules)
    second = hold_out_of(first, ["c"], rules)
    assert (names(suite(second).tasks), suite(second).held_out) == (["c1", "a1"], False)
    third = hold_out_of(dataclasses.replace(second, entries=(*second.entries, Entry(TASKS["b1"]))), ["b"], rules)
    assert names(suite(third).tasks) == ["b2", "b1", "c1", "a1"]
    assert names(third.train_tasks) == ["a2"]
    assert names(suite(hold_out_of(second, ["a"], rules)).tasks) == ["a2", "a1", "c1"]


def measured(made):
    return {one.name: (one.split, names(one.tasks)) for one in made.suites}


def test_tasks_without_a_test_split_are_measured_where_they_can_be():
    short, none = Prompted(spec("e1", "train", "validation")), Prompted(spec("f1", "train"))
    odd = Prompted(spec("g1", "train", "unseen", "dev"))
    entries = (*mixture().entries, Entry(short), Entry(none), Entry(odd))
    made = Mixture("m", entries)
    assert measured(hold_out_of(made, ["e"])) == {"held_out": ("validation", ["e1"])}
    assert measured(hold_out_of(made, ["d", "e", "g"])) == {
        "held_out": ("test", ["d1"]),
        "held_out_validation": ("validation", ["e1"]),
        "held_out_dev": ("dev", ["g1"]),
    }
    # A suite of that name on another split stays beside it, and takes what is measured on its own.
    test_first, validation_first = (hold_out_of(hold_out_of(made, [one]), [other]) for one, other in ("de", "ed"))
    assert measured(test_first) == {"held_out": ("test", ["d1"]), "held_out_validation": ("validation", ["e1"])}
    assert measured(validation_first) == {"held_out_test": ("test", ["d1"]), "held_out": ("validation", ["e1"])}
    more = dataclasses.replace(
        validation_first, entries=(*validation_first.entries, Entry(Prompted(spec("h1", "dev", "validation"))))
    )
    assert measured(hold_out_of(more, ["h"]))["held_out"] == ("validation", ["h1", "e1"])


def test_what_can_neither_be_trained_on_nor_measured_is_named():
    none = Prompted(spec("f1", "train"))
    made = Mixture("m", (*mixture().entries, Entry(none)))
    with pytest.raises(UserError, match=r"f has no test or validation split to measure, .*\(f1 has: train\)"):
        hold_out_of(made, ["f"])
    rules = HoldoutRules(related=(("a", "d"),), origins=made_from(d1=["wiki"], b2=["wiki"]))
    held = hold_out_of(made, ["d", "f"], rules)
    assert measured(held) == {"held_out": ("test", ["d1"])}
    dropped = {one.task: one.reason for one in held.dropped}
    assert dropped == {
        "a1": "a is near to d",
        "a2": "a is near to d",
        "b2": "made from wiki, as d1",
        "f1": "held out, and it has no split to measure but train",
    }
    trained, tested = names(held.train_tasks), names(suite(held).tasks)
    assert sorted([*trained, *tested, *dropped]) == sorted([*SPECS, "f1"])
    # What was left out before stays named; what is measured now is not.
    again = hold_out_of(dataclasses.replace(held, entries=(*held.entries, Entry(TASKS["b2"]))), ["b", "c2"])
    assert {one.task for one in again.dropped} == {"a1", "a2", "f1"}


def test_related_clusters_and_shared_data_sets_are_left_out_and_not_measured():
    rules = HoldoutRules(
        related=(("a", "b"), ("c", "a")), origins=made_from(a1=["wiki"], d1=["wiki", "news"], c2=["news"])
    )
    with_e = Mixture("m", (*mixture().entries, Entry(Prompted(spec("e1")))))
    held = hold_out_of(with_e, ["a"], rules)
    assert (names(held.train_tasks), names(suite(held).tasks)) == (["e1"], ["a1", "a2"])
    # A task by itself drags no cluster along, and what is held out together is not dropped.
    assert names(hold_out_of(with_e, ["a2"], rules).train_tasks) == ["a1", "b1", "b2", "c1", "c2", "d1", "e1"]
    assert names(hold_out_of(with_e, ["a1"], rules).train_tasks) == ["a2", "b1", "b2", "c1", "c2", "e1"]
    both = hold_out_of(with_e, ["a", "b"], rules)
    assert (names(both.train_tasks), names(suite(both).tasks)) == (["e1"], ["a1", "a2", "b1", "b2"])


def test_siblings_go_together_whatever_is_named():
    rules = HoldoutRules(siblings=(("a1", "b1"), ("c1", "c2")))
    for wanted, gone in ((["c1"], ["c1", "c2"]), (["b1"], ["a1", "b1"]), (["b"], ["a1", "b1", "b2"])):
        held = hold_out_of(mixture(), wanted, rules)
        assert names(suite(held).tasks) == gone
        assert names(held.train_tasks) == [name for name in TASKS if name not in gone]


def test_what_cannot_be_held_out_is_refused():
    with pytest.raises(UserError, match=r"Unknown cluster or task of mixture 'm' 'b3'.*Did you mean 'b"):
        hold_out_of(mixture(), ["a", "b3"])
    for made, wanted in (
        (mixture("a1", "a2"), ["a"]),
        (mixture("a1", "b1"), ["a1", "b"]),
        (Mixture("m", (Entry(TASKS["a1"]), Entry(TASKS["b1"], 0))), ["a"]),
        (Mixture("m", (Entry(mixture("a1", "a2", name="inner")),)), ["a"]),
    ):
        with pytest.raises(UserError, match=r"Mixture 'm' without .* has nothing left to train on"):
            hold_out_of(made, wanted)
    with pytest.raises(UserError, match="nothing left"):
        hold_out_of(mixture("a1", "b1"), ["a"], HoldoutRules(related=(("a", "b"),)))


def test_only_the_answer_is_measured():
    turned = dataclasses.replace(
        SPECS["a1"],
        templates=(Template("{text}?"), Template("Say {answer}.", "{text}", inverted=True), Template("So: {text}")),
    )
    measured = scored(turned)
    assert (measured.name, measured.template_ids) == ("a1_zs_opt_scored", (0, 2))
    assert scored(SPECS["a1"]) == TASKS["a1"]
    held = hold_out_of(Mixture("m", (Entry(Prompted(turned)), Entry(TASKS["b1"]))), ["a1"])
    assert suite(held).tasks == (measured,)


letters = st.sampled_from(sorted(TASKS))
kinds = st.sampled_from(sorted({*TASKS, *(name.upper() for name in TASKS)}))  # capitals: without options
tree = st.recursive(
    kinds,
    lambda inner: st.lists(st.tuples(inner, st.sampled_from([None, 0.0, 1.5])), min_size=1, max_size=4),
    max_leaves=8,
)
pairs = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=2).map(tuple)


def planted(branch, name="m"):
    """The mixture that a tree of kinds and rates stands for; what a mixture lists twice is listed once."""
    if isinstance(branch, str):
        return (TASKS if branch.islower() else BARE)[branch.lower()]
    made = [Entry(planted(inner, f"{name}{place}"), rate) for place, (inner, rate) in enumerate(branch)]
    return Mixture(name, tuple({entry.task.name: entry for entry in made}.values()))


def drawable(mixture):
    """Whether every mixture inside it that is drawn from has something to draw."""
    inner = [entry.task for entry in mixture.entries if isinstance(entry.task, Mixture) and entry.rate != 0]
    return bool(mixture.drawn_tasks) and all(map(drawable, inner))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(tree, st.sampled_from([None, 0.0, 1.5])), min_size=1, max_size=5),
    st.lists(st.sampled_from([*"abcd", *TASKS]), min_size=1, max_size=3, unique=True), pairs,
    st.dictionaries(letters, st.sets(st.sampled_from("xyz"), max_size=2)),
    st.lists(letters, min_size=2, max_size=2, unique=True),
)  # fmt: skip
def test_nothing_held_out_is_ever_trained_on(branches, wanted, related, origins, family):
    outer = planted(branches)
    known = {name for task in names(outer.all_tasks) for name in (task, task[0])}
    rules = HoldoutRules(related, (tuple(family),), made_from(**origins))
    try:
        held = hold_out_of(outer, wanted, rules)
    except UserError as error:
        refused = str(error)
    else:
        refused = ""
    if refused or not known.issuperset(wanted):
        assert ("nothing left to train on" if known.issuperset(wanted) else "Unknown cluster or task") in refused
        return
    trained, measured = set(names(held.train_tasks)), set(names(suite(held).tasks))
    assert measured & set(family) in (set(), set(family) & set(names(outer.all_tasks)))
    for name in wanted:
        assert not {task for task in trained if name in (task, task[0])}
        assert measured & {task for task in TASKS if name in (task, task[0])}
    assert not trained & measured
    used = set().union(*(origins.get(task, set()) for task in measured))
    near = set().union(*(rules.related_to(name) for name in wanted if len(name) == 1)) - set(wanted)
    for task in names(outer.train_tasks):
        dropped = task in measured or task[0] in near or used & origins.get(task, set())
        if task not in trained:
            assert dropped or task not in names(outer.drawn_tasks)
        else:
            assert not dropped
    if drawable(outer):
        assert sum(held.weights(SIZES).values()) == pytest.approx(1)
    assert {entry.rate for entry in held.entries} <= {entry.rate for entry in outer.entries}


def test_flans_kinds_of_split_over_a_list_of_tasks():
    specs, rules = (
        tuple(SPECS.values()),
        HoldoutRules((("b", "c"),), (("a1", "a2"),), made_from(b1=["wiki"], d1=["wiki"])),
    )
    split = hold_out_clusters("s", specs, ["b"], rules)
    assert ([s.name for s in split.train], [s.name for s in split.test]) == (["a1", "a2"], ["b1", "b2"])
    assert {d.task: d.reason for d in split.dropped} == {
        "c1": "c is near to b", "c2": "c is near to b", "d1": "made from wiki, as b1",
    }  # fmt: skip
    assert [s.name for s in hold_out_tasks("s", specs, ["a2", "c1"], rules).test] == ["a1", "a2", "c1"]
    for index in range(4):  # one of every cluster that has several; the two of a count as one
        held = [s.name for s in intra_cluster("s", specs, index, rules).test]
        assert [name[0] for name in held] == ["b", "c"]
    # Without rules every task counts by itself.
    assert [s.name[0] for s in intra_cluster("s", specs, 0).test] == ["a", "b", "c"]
    few = diversity("s", specs, test_clusters=["d"], train_clusters=["a", "b"], tasks_per_cluster=1)
    assert ([s.name for s in few.train], len(few.dropped)) == (["a1", "b1"], 4)
    turns = diversity("s", specs, test_clusters=["d"], train_clusters=["a", "b", "c"], task_limit=4)
    assert [s.name for s in turns.train] == ["a1", "a2", "b1", "c1"]


def test_families_of_a_cluster_are_ordered_by_what_their_names_share():
    """As FLAN does: ``a_x`` before ``a1_x``, though an underscore sorts behind a digit."""
    specs = tuple(spec(name) for name in ("a_1", "a_9", "a1_x", "a1_y", "b1"))
    families = (("a_1", "a_9"), ("a1_x", "a1_y"))
    for siblings in (families, families[::-1]):
        split = intra_cluster("s", specs, 0, HoldoutRules(siblings=siblings))
        first = np.random.RandomState(seed=0).permutation(2)[0]
        assert tuple(s.name for s in split.test) == families[first]


def test_impossible_splits_are_refused():
    specs = tuple(SPECS.values())
    for make, message in (
        (lambda: hold_out_clusters("s", specs, ["bb"]), "Unknown cluster 'bb'"),
        (lambda: hold_out_tasks("s", specs, ["a1x"]), r"Unknown task 'a1x'\. Did you mean 'a1'"),
        (lambda: hold_out_clusters("s", specs, "abcd"), "leaves no task to train on"),
        (lambda: hold_out_tasks("s", specs, []), "leaves no task to hold out"),
        (lambda: Holdout("s", specs, specs[:1]), "trains on 'a1' and holds it out"),
        (lambda: diversity("s", specs, test_clusters=["a"], train_clusters=["a"]), "trains on 'a1' and holds it out"),
        (lambda: diversity("s", specs, test_clusters=["a"], train_clusters=[]), "leaves no task to train on"),
        (lambda: diversity("s", specs, test_clusters=["e"], train_clusters=["a"]), "Unknown cluster 'e'"),
        (lambda: diversity("s", specs, test_clusters=["a"], train_clusters=["b"], task_limit=0), "limit of 0 tasks"),
    ):
        with pytest.raises(UserError, match=message):
            make()
