"""transformers' model is read once for all tests of this folder."""

import pytest
from realweights_peer import Peer, load_peer


@pytest.fixture(scope="session")
def peer(realweights) -> Peer:
    pytest.importorskip("torch")
    return load_peer(realweights)
