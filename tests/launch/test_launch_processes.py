"""One process, or a refusal."""

import pytest

from flan_jax.errors import UserError
from flan_jax.launch.processes import check_one_process


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_NTASKS": "4", "FLAN_JAX_SINGLE_PROCESS": "1"},
        {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1", "PMI_SIZE": ""},
    ],
)
def test_one_process_runs(given):
    check_one_process(given)


@pytest.mark.parametrize(
    "given",
    [
        {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
        {"JAX_COORDINATOR_ADDRESS": "localhost:1"},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"},
        {"SLURM_STEP_NUM_TASKS": "2"},
        {"OMPI_COMM_WORLD_SIZE": "8"},
        {"PMI_SIZE": "2", "FLAN_JAX_SINGLE_PROCESS": "0"},
    ],
)
def test_one_of_several_is_refused(given):
    with pytest.raises(UserError, match=r"one of several processes.*FLAN_JAX_SINGLE_PROCESS=1"):
        check_one_process(given)
