"""Compiles one job in a process of its own: `python -m flan_jax.plan.worker JOB RESULT`.

A compiler that gives up takes its process with it, and the number of simulated devices is decided before JAX begins.
"""

import json
import pickle
import sys
from pathlib import Path

from flan_jax.errors import UserError


def main(job_file: str, result_file: str) -> None:
    """Reads a pickled `PlanJob`, and writes what `measure` found, or `error`, as JSON."""
    from flan_jax.plan.measure import measure

    job = pickle.loads(Path(job_file).read_bytes())
    try:
        found = measure(job)
    except UserError as error:
        found = {"error": str(error)}
    Path(result_file).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
