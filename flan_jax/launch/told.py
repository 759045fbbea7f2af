"""The variables by which `flan-jax launch` tells each process where the first one is, how many there are, and its number.

The names are JAX's. A target that cannot know them when it submits leaves them to its script or to Kubernetes.
"""

import os
from collections.abc import Mapping

from flan_jax.errors import UserError

AUTO = "auto"
"""In the place of the coordinator's address: the machines' own metadata say all three, as those of TPUs do."""
COORDINATOR, COUNT, PROCESS_ID = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def process_variables(address: str, count: int, process_id: int) -> dict[str, str]:
    """Returns the variables of one process of several.

    Args:
        address: ``HOST:PORT`` of process 0.
        count: of all processes.
        process_id: 0-based number of the one that is told.
    """
    return {COORDINATOR: address, COUNT: str(count), PROCESS_ID: str(process_id)}


def told_processes(environment: Mapping[str, str] | None = None) -> tuple[str, int, int] | None:
    """Reads them: address of process 0, number of processes, number of this one; ``None`` where not all three are set.

    >>> told_processes(process_variables("node0:8476", 4, 2))
    ('node0:8476', 4, 2)

    Args:
        environment: by default this process's.

    Raises:
        UserError: one of the two numbers is none.
    """
    given = os.environ if environment is None else environment
    address, count, process_id = (given.get(name, "").strip() for name in (COORDINATOR, COUNT, PROCESS_ID))
    if not (address and count and process_id):
        return None
    for name, value in ((COUNT, count), (PROCESS_ID, process_id)):
        if not value.isdecimal():
            raise UserError(f"{name} is {value!r}; a launcher sets it to a whole number. Unset it where there is none.")
    return address, int(count), int(process_id)
