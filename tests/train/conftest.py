"""Runs that are compiled once for all tests of training."""

import pytest
from run_tiny import TinyRun


@pytest.fixture(scope="session")
def tiny_run() -> TinyRun:
    """AdamW on one device."""
    return TinyRun()
