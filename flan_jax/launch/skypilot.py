"""A task of SkyPilot as a managed job, which it recovers from preemptions and from exit code 75."""

import shlex
from typing import Any

import yaml

from flan_jax.launch.job import AS_GIVEN, RESUBMIT, Job, Submission, lines
from flan_jax.launch.options import SkyLaunch

TASK = "task.yaml"
_PORT = 8476


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as people do."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def sky_submission(job: Job, options: SkyLaunch) -> Submission:
    """Makes the task and the command that submits it as a managed job."""
    return Submission(
        files={TASK: yaml.dump(task(job, options), Dumper=_Dumper, sort_keys=False, width=1000)},
        command=("sky", "jobs", "launch", "--yes", "--detach-run", "--name", job.name, str(job.folder / TASK)),
        follow=("sky", "jobs", "logs", "--follow", "--name", job.name),
    )


def task(job: Job, options: SkyLaunch) -> dict[str, Any]:
    """Builds the task."""
    resources: dict[str, Any] = {
        "infra": options.infra,
        "accelerators": options.accelerators,
        "cpus": options.cpus,
        "memory": options.memory,
        "disk_size": options.disk_gb,
        "image_id": options.image,
        "use_spot": options.spot,
        "job_recovery": {"strategy": "EAGER_NEXT_REGION", "recover_on_exit_codes": [RESUBMIT]},
    }
    mounts = dict(mount.split(":", 1) for mount in options.mounts)
    found: dict[str, Any] = {
        "name": job.name,
        "num_nodes": options.nodes,
        "resources": {name: value for name, value in resources.items() if value not in ("", 0) or name == "use_spot"},
        "workdir": options.workdir,
        "file_mounts": mounts,
        "envs": dict(pair.split("=", 1) for pair in options.env),
        "setup": lines(options.setup) if options.setup else "",
        "run": run_script(job, options),
    }
    return {name: value for name, value in found.items() if value not in ("", {})}


def run_script(job: Job, options: SkyLaunch) -> str:
    """Writes what every machine runs; the first one of the list is the coordinator."""
    coordinator = (
        f'JAX_COORDINATOR_ADDRESS="$(head -n 1 <<<"$SKYPILOT_NODE_IPS"):{_PORT}"\n'
        "export JAX_COORDINATOR_ADDRESS\n"
        'export JAX_NUM_PROCESSES="$SKYPILOT_NUM_NODES" JAX_PROCESS_ID="$SKYPILOT_NODE_RANK"'
    )
    return lines(AS_GIVEN, coordinator if options.nodes > 1 else "", "exec " + shlex.join(["flan-jax", *job.command]))
