"""What is compiled once for all tests of training, and a count of what is compiled."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest
from run_tiny import TinyRun


@pytest.fixture(scope="session")
def tiny_run() -> TinyRun:
    """AdamW on one device."""
    return TinyRun()


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Grows by one for every program that is compiled during the test."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)
