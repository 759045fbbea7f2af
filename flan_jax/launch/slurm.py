"""A batch script of Slurm that finds its coordinator, survives a preemption and requeues itself on exit code 75."""

import shlex

from flan_jax.launch.job import AS_GIVEN, RESUBMIT, Job, Submission, lines
from flan_jax.launch.options import SlurmLaunch

SCRIPT = "job.sbatch"


def slurm_submission(job: Job, options: SlurmLaunch) -> Submission:
    """Makes the batch script of a job, or of an array of a study's workers, and the command that submits it."""
    folder = job.folder.resolve()
    return Submission(
        files={SCRIPT: batch_script(job, options)},
        command=("sbatch", "--parsable", str(folder / SCRIPT)),
        show=("squeue", "--noheader", "--jobs", "{id}", "--format", "%T"),
    )


def batch_script(job: Job, options: SlurmLaunch) -> str:
    """Writes the script, which shellcheck finds nothing in."""
    return lines(
        "#!/bin/bash",
        AS_GIVEN,
        _directives(job, options),
        "set -uo pipefail",
        [f"export {shlex.quote(pair)}" for pair in options.env],
        options.setup,
        _events(job),
        _coordinator(options),
        "# SIGTERM is for the tasks, which save a checkpoint; the script waits for them.",
        "trap : TERM",
        "event started 0",
        _step(job, options),
        _end(options),
    )


def _directives(job: Job, options: SlurmLaunch) -> list[str]:
    folder = job.folder.resolve()
    given = {
        "job-name": job.name,
        "chdir": str(job.working_dir.resolve()),
        "output": f"{folder}/{'task_%a.log' if options.array else 'job.log'}",
        "nodes": options.nodes,
        "ntasks-per-node": options.tasks_per_node,
        # Not --gpus-per-task, which hides a node's other GPUs from a process: they could not reach each other's memory.
        "gpus-per-node": options.gpus_per_node,
        "cpus-per-task": options.cpus_per_task,
        "mem": options.memory,
        "time": options.time_limit,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "reservation": options.reservation,
        "array": _array(options),
        "signal": f"TERM@{options.grace_s}",
    }
    found = [f"#SBATCH --{name}={_word(str(value))}" for name, value in given.items() if value not in ("", 0)]
    return [*found, "#SBATCH --open-mode=append", "#SBATCH --requeue"]


def _word(value: str) -> str:
    """A value of a directive; Slurm splits them like a shell does."""
    return shlex.quote(value) if "%" not in value else f'"{value}"' if " " in value else value


def _array(options: SlurmLaunch) -> str:
    if not options.array:
        return ""
    return f"0-{options.array - 1}" + f"%{options.array_parallel}" * bool(options.array_parallel)


def _events(job: Job) -> str:
    """A function that notes in the launch's folder what happens to the job."""
    target = shlex.quote(str(job.folder.resolve() / "events.jsonl"))
    return (
        "event() {\n"
        '  printf \'{"time": "%s", "job": "%s", "restarts": %d, "event": "%s", "code": %d}\\n\' \\\n'
        f'    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$SLURM_JOB_ID" "${{SLURM_RESTART_COUNT:-0}}" "$1" "$2" >>{target}\n'
        "}"
    )


def _coordinator(options: SlurmLaunch) -> str:
    if options.nodes * options.tasks_per_node == 1:
        return ""
    port = "port=$((61440 + (SLURM_JOB_ID + 7 * ${SLURM_RESTART_COUNT:-0}) % 4096))\n"
    told = 'export JAX_COORDINATOR_ADDRESS="$coordinator:$port" JAX_NUM_PROCESSES="$SLURM_NTASKS"'
    if options.nodes == 1:  # whatever a machine's own name means on it
        return f"coordinator=127.0.0.1\n{port}{told}"
    return (
        "# The first node's task 0 is the coordinator. Its port follows from the job, so that two jobs on one node differ.\n"
        f'coordinator=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n{port}{told}'
    )


def _step(job: Job, options: SlurmLaunch) -> str:
    srun = ["srun", f"--wait={options.grace_s}"]
    inside = [*job.program, *job.command]
    if options.image:
        inside = ["flan-jax", *job.command]
        mounts = ",".join(options.mounts)
        if options.container_runtime == "pyxis":
            srun += [f"--container-image={options.image}", *([f"--container-mounts={mounts}"] if mounts else [])]
        else:
            gpus = ["--nv"] if options.gpus_per_node else []
            binds = ["--bind", mounts] if mounts else []
            inside = ["apptainer", "exec", *gpus, *binds, options.image, *inside]
    if options.nodes * options.tasks_per_node == 1:
        return shlex.join([*srun, *inside]) + "\ncode=$?"
    own = 'export JAX_PROCESS_ID="$SLURM_PROCID"'
    if options.gpus_per_node and options.tasks_per_node > 1:
        own += '; export JAX_LOCAL_DEVICE_IDS="$SLURM_LOCALID"'
    task = f'{own}; exec "$@"'
    return f"{shlex.join(srun)} bash -c '{task}' task \\\n  {shlex.join(inside)}\ncode=$?"


def _end(options: SlurmLaunch) -> str:
    """Requeues on exit code 75, unless the job was canceled, which leaves it completing."""
    return (
        f'if [ $code -eq {RESUBMIT} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {options.max_restarts} ] &&\n'
        '  [ "$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T)" = RUNNING ]; then\n'
        "  event requeued $code\n"
        '  scontrol requeue "$SLURM_JOB_ID"\n'
        "else\n"
        "  event ended $code\n"
        "fi\n"
        "exit $code"
    )
