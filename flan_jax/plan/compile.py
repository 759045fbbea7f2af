"""Runs the worker that compiles a job, with the environment that its compiler needs."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flan_jax
from flan_jax.errors import UserError
from flan_jax.plan.job import PlanJob

CompileJob = Callable[[PlanJob], dict[str, Any]]
"""`compile_job`, or what stands in for it."""
_TAIL = 1500
_OF_THIS_MACHINE = ("--xla_force_host_platform", "--xla_backend_optimization_level", "--xla_cpu")
"""Options of XLA that are set for the CPUs here, and would change the plan or be refused by another compiler."""


def compile_job(job: PlanJob) -> dict[str, Any]:
    """Compiles a job's programs in a process of its own; gives what `measure.measure` does.

    Raises:
        UserError: the mesh does not fit the devices.
        RuntimeError: the compiler failed; its last words are in the message.
    """
    with tempfile.TemporaryDirectory(prefix="flan_jax_plan_") as folder:
        job_file, result_file = Path(folder) / "job", Path(folder) / "result.json"
        job_file.write_bytes(pickle.dumps(job))
        done = subprocess.run(
            [sys.executable, "-m", "flan_jax.plan.worker", str(job_file), str(result_file)],
            env=environment(job),
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode or not result_file.exists():
            raise RuntimeError(
                f"The compiler of {job.target} gave up with code {done.returncode}: {done.stderr[-_TAIL:].strip()}"
            )
        found: dict[str, Any] = json.loads(result_file.read_text())
    if "error" in found:
        raise UserError(found["error"])
    return found


def environment(job: PlanJob) -> dict[str, str]:
    """Returns the environment of the worker: no device is looked for, and no metadata server is asked."""
    package = str(Path(flan_jax.__file__).parent.parent)
    paths = [package, *(part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part)]
    wanted = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # what is read from it was not compiled, and took no time
        "TPU_SKIP_MDS_QUERY": "1",
        # libtpu looks for both and complains at length where they are missing.
        "TPU_ACCELERATOR_TYPE": "v5litepod-8",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no TPU is taken, so plans need not wait for one another
    }
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(_OF_THIS_MACHINE)]
    if job.compiler == "cpu":
        # Nothing is run, so the machine code need not be fast; buffers and collectives are decided before it.
        flags += [f"--xla_force_host_platform_device_count={job.devices}", "--xla_backend_optimization_level=0"]
    wanted["XLA_FLAGS"] = " ".join(flags)
    return {**os.environ, **wanted}
