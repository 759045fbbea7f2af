"""Detects whether this process is one of several that were started together (``flan_jax.launch.membership`` joins them)."""

import os
from collections.abc import Mapping

from flan_jax.errors import UserError

ALONE = "FLAN_JAX_SINGLE_PROCESS"
# Pairs of variables: how many processes there are, and what is only set where a launcher started each of them.
_COUNTS = ("JAX_NUM_PROCESSES", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def check_one_process(environment: Mapping[str, str] | None = None) -> None:
    """Refuses to run as one of several processes: each would work alone, in the same folder.

    Args:
        environment: by default this process's.

    Raises:
        UserError: the variables speak of more than one, and ``FLAN_JAX_SINGLE_PROCESS`` is not 1.
    """
    found = started_by(environment)
    if found:
        raise UserError(
            f"{found} says that this is one of several processes, but this command runs as one: each would do all of it and write "
            f"into the same folder. Start one process, or set {ALONE}=1 where this is the only one."
        )


def started_by(environment: Mapping[str, str] | None = None) -> str:
    """Returns the variable, as ``NAME=VALUE``, by which a launcher says that it started several processes; ``""`` for none.

    JAX's own variables, Slurm's and MPI's are read. Of a Slurm job the step decides, as ``srun --ntasks=1`` inside a
    larger job is one process; without a step it is the job.

    Args:
        environment: by default this process's.
    """
    given = os.environ if environment is None else environment
    if given.get(ALONE, "").lower() in ("1", "true"):
        return ""
    found = {name: given[name] for name in _COUNTS if given.get(name, "").strip() not in ("", "1")}
    if given.get("SLURM_STEP_NUM_TASKS", "").strip() == "1":
        found.pop("SLURM_NTASKS", None)
    if not found and given.get("JAX_COORDINATOR_ADDRESS") and given.get("JAX_NUM_PROCESSES", "").strip() != "1":
        found = {"JAX_COORDINATOR_ADDRESS": given["JAX_COORDINATOR_ADDRESS"]}
    return "".join(f"{name}={value}" for name, value in list(found.items())[:1])
