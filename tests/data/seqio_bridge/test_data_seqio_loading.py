"""Registering with seqio waits for the modules that do it, whichever of them is imported first.

What is registered then, `test_data_seqio_register` sees in a process of its own.
"""

import sys
import types

import pytest

from flan_jax.data.seqio_bridge import loading

BRIDGE, VOCABULARY = "flan_jax.data.seqio_bridge.register", "flan_jax.data.seqio_bridge.vocabulary"


@pytest.fixture
def importing(monkeypatch):
    """Sets which of the two modules are in the middle of their import."""
    monkeypatch.setattr(loading, "_postponed", [])

    def let(*names):
        for name in (BRIDGE, VOCABULARY):
            module = types.ModuleType(name)
            module.__spec__ = types.SimpleNamespace(_initializing=name in names)
            monkeypatch.setitem(sys.modules, name, module)

    return let


def test_registers_at_once_where_nothing_is_being_imported(importing):
    importing()
    called = []
    loading.when_loaded(lambda: called.append(1))
    assert called == [1]


def test_waits_for_the_last_of_them_and_registers_once(importing):
    called = []
    importing(BRIDGE, VOCABULARY)
    loading.when_loaded(lambda: called.append(1))
    loading.loaded(VOCABULARY)
    assert not called, "the other one is not whole yet"
    importing(BRIDGE)
    loading.loaded(BRIDGE)
    loading.loaded(BRIDGE)
    assert called == [1]
