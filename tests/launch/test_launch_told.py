"""What a process is told of the others."""

import pytest

from flan_jax.errors import UserError
from flan_jax.launch.told import process_variables, told_processes


def test_all_three_or_nothing():
    told = process_variables("node0:8476", 4, 2)
    assert told_processes(told) == ("node0:8476", 4, 2)
    for name in told:
        assert told_processes({**told, name: ""}) is None
    assert told_processes({}) is None


@pytest.mark.parametrize("name", ["JAX_NUM_PROCESSES", "JAX_PROCESS_ID"])
def test_a_number_that_is_none(name):
    with pytest.raises(UserError, match=f"{name} is 'two'; a launcher sets it to a whole number"):
        told_processes({**process_variables("node0:8476", 4, 2), name: "two"})
