"""Units of weights: tasks, clusters, entries, and what is inside them."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.online.units import Units
from flan_jax.tasks.spec import Prompted
from flan_jax.testing import tasks as toys

PARITY, COPY, VOWEL = (Prompted(spec) for spec in (toys.PARITY, toys.COPY, toys.VOWEL))
INNER = Mixture("inner", (Entry(COPY, 1.0), Entry(VOWEL, 3.0)))
OUTER = Mixture("outer", (Entry(PARITY, 1.0), Entry(INNER, 1.0)))
WEIGHTS = {PARITY.name: 0.5, COPY.name: 0.125, VOWEL.name: 0.375}


def test_a_unit_shares_its_weight_out_as_the_mixture_does():
    units = Units.of(OUTER, "entry", WEIGHTS)
    assert units.names == (PARITY.name, "inner")
    own = np.array(list(WEIGHTS.values()))
    assert units.shares(own).tolist() == [0.5, 0.5]
    assert units.spread(units.shares(own)).tolist() == own.tolist()
    assert units.spread(np.array([0.2, 0.8])).tolist() == pytest.approx([0.2, 0.2, 0.6])


def test_tasks_and_clusters_are_units_too():
    assert Units.of(OUTER, "task", WEIGHTS).names == tuple(WEIGHTS)
    clusters = Units.of(OUTER, "cluster", WEIGHTS)
    assert clusters.names == tuple(dict.fromkeys(task.cluster for task in (PARITY, COPY, VOWEL)))


def test_losses_of_units_are_means_over_their_tokens():
    units = Units.of(OUTER, "entry", WEIGHTS)
    found = units.means(np.array([0.0, 6.0, 2.0]), np.array([0.0, 3.0, 1.0]))
    assert np.isnan(found[0])
    assert found[1] == 2.0


def test_a_task_of_two_entries_has_no_entry_of_its_own():
    twice = Mixture("twice", (Entry(COPY, 1.0), Entry(INNER, 1.0)))
    with pytest.raises(UserError, match=rf"task '{COPY.name}' belongs to both '{COPY.name}' and 'inner'"):
        Units.of(twice, "entry", {COPY.name: 0.5, VOWEL.name: 0.5})
