"""What factors know of a mixture: units, own shares, names."""

import dataclasses

import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Equal
from flan_jax.studies.space import Space, given_shares


def test_units(space):
    assert space.units("tasks") == {"a": ("a",), "b": ("b",), "c": ("c",), "d": ("d",)}
    assert space.units("clusters") == {"one": ("a", "b"), "two": ("c",), "three": ("d",)}
    assert space.units("sources") == {"a": ("a",), "b": ("b",), "inner": ("c", "d")}


def test_own_shares_without_a_record_read(space):
    assert space.shares("tasks") == pytest.approx({"a": 1 / 4, "b": 2 / 4, "c": 1 / 16, "d": 3 / 16})
    assert space.shares("clusters") == pytest.approx({"one": 3 / 4, "two": 1 / 16, "three": 3 / 16})
    assert space.shares("sources") == pytest.approx({"a": 1 / 4, "b": 1 / 2, "inner": 1 / 4})


def test_names_of_several_tasks(space):
    assert space.named({"a", "b", "d"}) == ("one", "three")
    assert space.named({"b", "c"}) == ("b", "two")


def test_what_is_no_space(space):
    flat = Space(Mixture("flat", space.mixture.entries[:2], Equal()))
    with pytest.raises(UserError, match=r"no sources to vary\. Choose 'clusters' or 'tasks'"):
        dataclasses.replace(flat, mixture=Mixture("one", flat.mixture.entries[:1], Equal())).units("sources")
    tokens = Space(Mixture("t", space.mixture.entries, Equal(), unit="tokens"))
    with pytest.raises(UserError, match="counts in tokens"):
        tokens.shares("clusters")
    spec = dataclasses.replace(space.mixture.entries[0].task.spec, name="two", cluster="four")
    twice = dataclasses.replace(space.mixture.entries[0].task, spec=spec)
    with pytest.raises(UserError, match="The name 'two' of one of the clusters"):
        Space(Mixture("n", (*space.mixture.entries, Entry(twice)), Equal())).units("clusters")


@pytest.mark.parametrize(
    ("prior", "sentence"),
    [
        ({"a": 1, "b": -1}, "'b' the share -1"),
        ({"a": 1}, "no share to 'b'"),
        ({"a": 1, "b": 1, "bb": 1}, "Did you mean 'b'"),
        ({"a": 0, "b": 0}, "every share 0"),
        ({"a": float("nan"), "b": 1}, "a finite number"),
    ],
)
def test_a_prior_that_is_none(prior, sentence):
    with pytest.raises(UserError, match=sentence):
        given_shares(prior, ("a", "b"), "Dirichlet.prior")
    assert given_shares({"b": 3, "a": 1}, ("a", "b"), "it") == {"a": 0.25, "b": 0.75}
