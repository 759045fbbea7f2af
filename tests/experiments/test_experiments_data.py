"""What a name of a mixture is taken for."""

import re

import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.mixture import resolve_mixture


@pytest.mark.parametrize("name", ["dolly.jsonl", "dolly.json.gz", "rows.parquet", "data/dolly"])
def test_a_file_that_is_not_there_is_no_misspelt_mixture(name):
    with pytest.raises(UserError, match=rf"The instruction data: '.*{re.escape(name)}' does not exist"):
        resolve_mixture(name)


def test_a_misspelt_mixture_is_no_file():
    with pytest.raises(UserError, match=r"Unknown mixture or task 'flan2021x'\. Did you mean 'flan2021'"):
        resolve_mixture("flan2021x")
