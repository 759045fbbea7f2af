from pathlib import Path

import pytest
from weighted_toys import run_of_toys

from flan_jax.experiments.config import RunConfig


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return run_of_toys(tmp_path)
