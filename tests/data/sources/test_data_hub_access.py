"""Without a network the hub's client works from its cache, and gives up at once."""

import socket

import pytest

from flan_jax.data.sources import hub_access


def answers(*outcomes):
    """A name server that answers so, one outcome a question."""
    left = list(outcomes)

    def getaddrinfo(host, port):
        asked.append(host)
        if (outcome := left.pop(0)) is not None:
            raise socket.gaierror(outcome, "")

    asked = []
    return getaddrinfo, asked


@pytest.fixture
def flag(monkeypatch):
    pytest.importorskip("datasets")
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_access.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub_access.time, "sleep", lambda seconds: None)
    return lambda: datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("outcomes", "offline"),
    [
        ((None,), False),
        ((socket.EAI_NONAME,), True),
        ((socket.EAI_AGAIN, None), False),  # busy once
        ((socket.EAI_AGAIN, socket.EAI_AGAIN), True),
    ],
)
def test_the_client_is_offline_where_the_hub_has_no_address(monkeypatch, flag, outcomes, offline):
    getaddrinfo, asked = answers(*outcomes)
    monkeypatch.setattr(hub_access.socket, "getaddrinfo", getaddrinfo)
    with hub_access.offline_if_unreachable():
        assert flag() is offline
    assert flag() is False
    assert len(asked) == len(outcomes)


def test_a_mirror_is_asked_for_and_a_proxy_is_left_alone(monkeypatch, flag):
    getaddrinfo, asked = answers(socket.EAI_NONAME, socket.EAI_NONAME)
    monkeypatch.setattr(hub_access.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub")
    with hub_access.offline_if_unreachable():
        assert flag()
    assert asked == ["mirror.example"]
    monkeypatch.setattr(hub_access.urllib.request, "getproxies", lambda: {"https": "proxy.example"})
    with hub_access.offline_if_unreachable():
        assert not flag()
