"""The variables by which `flan-jax launch` tells each process where the first one is, how many there are, and its number.

The names are JAX's. A target that cannot know them when it submits leaves them to its script or to Kubernetes.
"""

AUTO = "auto"
"""In the place of the coordinator's address: the machines' own metadata say all three, as those of TPUs do."""
COORDINATOR, COUNT, PROCESS_ID = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def process_variables(address: str, count: int, process_id: int) -> dict[str, str]:
    """Returns the variables of one process of several.

    >>> process_variables("node0:8476", 4, 2)["JAX_PROCESS_ID"]
    '2'

    Args:
        address: ``HOST:PORT`` of process 0.
        count: of all processes.
        process_id: 0-based number of the one that is told.
    """
    return {COORDINATOR: address, COUNT: str(count), PROCESS_ID: str(process_id)}
