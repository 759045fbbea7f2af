"""Registering with seqio waits for the modules that do it, whichever of them is imported first."""

import subprocess
import sys
import types

import pytest

from flan_jax.data import seqio_ready

BRIDGE, VOCABULARY = "flan_jax.data.seqio_bridge", "flan_jax.data.seqio_vocabulary"


@pytest.fixture
def loading(monkeypatch):
    """Sets which of the two modules are in the middle of their import."""
    monkeypatch.setattr(seqio_ready, "_postponed", [])

    def let(*names):
        for name in (BRIDGE, VOCABULARY):
            module = types.ModuleType(name)
            module.__spec__ = types.SimpleNamespace(_initializing=name in names)
            monkeypatch.setitem(sys.modules, name, module)

    return let


def test_registers_at_once_where_nothing_is_being_imported(loading):
    loading()
    called = []
    seqio_ready.when_loaded(lambda: called.append(1))
    assert called == [1]


def test_waits_for_the_last_of_them_and_registers_once(loading):
    called = []
    loading(BRIDGE, VOCABULARY)
    seqio_ready.when_loaded(lambda: called.append(1))
    seqio_ready.loaded(VOCABULARY)
    assert not called, "the other one is not whole yet"
    loading(BRIDGE)
    seqio_ready.loaded(BRIDGE)
    seqio_ready.loaded(BRIDGE)
    assert called == [1]


def test_a_module_of_the_bridge_may_be_what_imports_seqio_first():
    code = "import mixtures, flan_jax.data.seqio_vocabulary, seqio; assert 'mini' in seqio.MixtureRegistry.names(), 'nobody registered'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
