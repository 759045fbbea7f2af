"""transformers' model is read once for all tests of a process, which computes in one thread: two run side by side."""

import pytest
from realweights_peer import Peer, load_peer


@pytest.fixture(scope="session")
def peer(realweights) -> Peer:
    pytest.importorskip("torch").set_num_threads(1)
    return load_peer(realweights)
