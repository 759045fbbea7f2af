"""A script around gcloud: it queues for TPU machines, runs the command on all of them, and begins again on exit code 75.

Queued resources know no command to run and no exit code, so the script asks for the machines, waits, and reads what each
machine says that its command ended with. JAX finds the other machines by the TPU's own metadata.
"""

import shlex

from flan_jax.launch.job import AS_GIVEN, RESUBMIT, Job, Submission, lines
from flan_jax.launch.options import TpuVmLaunch
from flan_jax.launch.process_variables import AUTO, COORDINATOR

SCRIPT = "queue.sh"
_SAYS = "flan_jax ended with"


def tpu_vm_submission(job: Job, options: TpuVmLaunch) -> Submission:
    """Makes the script, which runs on this machine until the command is done."""
    return Submission(
        files={SCRIPT: queue_script(job, options)},
        command=("bash", str(job.folder / SCRIPT)),
        detached=True,
    )


def queue_script(job: Job, options: TpuVmLaunch) -> str:
    """Writes the script, which shellcheck finds nothing in."""
    nodes = [job.name] if options.slices == 1 else [f"{job.name}-{number}" for number in range(options.slices)]
    where = [f"--zone={options.zone}", *([f"--project={options.project}"] if options.project else [])]
    return lines(
        "#!/bin/bash",
        AS_GIVEN,
        "set -uo pipefail",
        f"folder={shlex.quote(str(job.folder.resolve()))}",
        f"name={job.name}",
        f"nodes=({shlex.join(nodes)})",
        f"where=({shlex.join(where)})",
        f"command={shlex.quote(_on_machine(job, options))}",
        _FUNCTIONS.replace("CREATE", shlex.join(_create(job, options))).replace("SAYS", _SAYS),
        _LOOP.replace("RESTARTS", str(options.max_restarts))
        .replace("RESUBMIT", str(RESUBMIT))
        .replace("REMOVE", ":" if options.keep else "remove"),
    )


def _create(job: Job, options: TpuVmLaunch) -> list[str]:
    given = {
        "accelerator-type": options.accelerator_type,
        "runtime-version": options.runtime_version,
        "service-account": options.service_account,
        "network": options.network,
    }
    one = options.slices == 1
    found = [f"--node-id={job.name}"] if one else [f"--node-count={options.slices}", f"--node-prefix={job.name}"]
    found += [f"--{name}={value}" for name, value in given.items() if value]
    return [*found, *["--spot"] * options.spot, *["--reserved"] * options.reserved]


def _on_machine(job: Job, options: TpuVmLaunch) -> str:
    """The lines that each machine runs: the exit code goes into the log, as ssh to many machines keeps none."""
    # How many machines a slice has, only they themselves know; one that is alone is told so.
    several = [f"export {COORDINATOR}={AUTO}"] if job.command[:1] == ("train",) else []
    exports = [f"export {shlex.quote(pair)}" for pair in options.env]
    inner = lines([*several, *exports, *options.setup], shlex.join(["flan-jax", *job.command])).rstrip("\n")
    return f"bash -c {shlex.quote(inner)}; echo {_SAYS} $?"


_FUNCTIONS = r"""event() {
  printf '{"time": "%s", "restarts": %d, "event": "%s", "code": %d}\n' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$restarts" "$1" "$2" >>"$folder/events.jsonl"
}
create() {
  gcloud compute tpus queued-resources create "$name" "${where[@]}" --quiet CREATE
}
remove() {
  gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet
}
state() {
  gcloud compute tpus queued-resources describe "$name" "${where[@]}" --format='value(state.state)' 2>/dev/null
}
# Waits until the machines are there; fails where they will not be, or nobody says how they stand for ten minutes.
granted() {
  local unknown=0
  while :; do
    case $(state) in
      ACTIVE) return 0 ;;
      FAILED | SUSPENDING | SUSPENDED) return 1 ;;
      "") unknown=$((unknown + 1)) ;;
    esac
    [ "$unknown" -lt 20 ] || return 1
    sleep 30
  done
}
# Runs the command on every machine of every slice; each says in the log what it ended with.
on_all() {
  local node
  : >"$folder/attempt.log"
  for node in "${nodes[@]}"; do
    gcloud compute tpus tpu-vm ssh "$node" "${where[@]}" --worker=all --batch-size=all --quiet --command="$command" \
      2>&1 | tee -a "$folder/attempt.log" &
  done
  wait
}
# The exit code of all: 75 where one says so or the machines were taken away, else the largest.
ended_with() {
  local codes
  codes=$(grep -o 'SAYS [0-9]*' "$folder/attempt.log" | awk '{ print $NF }' | sort -n)
  if grep -qx 75 <<<"$codes" || [ "$(state)" != ACTIVE ]; then
    echo 75
  else
    tail -n 1 <<<"${codes:-1}"
  fi
}"""

_LOOP = """restarts=0
while :; do
  if [ "$(state)" != ACTIVE ]; then
    remove >/dev/null 2>&1
    if ! create; then
      event ended 1
      exit 1
    fi
  fi
  event queued 0
  code=RESUBMIT
  if granted; then
    event started 0
    on_all
    code=$(ended_with)
  fi
  if [ "$code" -ne RESUBMIT ] || [ "$restarts" -ge RESTARTS ]; then break; fi
  restarts=$((restarts + 1))
  event requeued "$code"
done
REMOVE
event ended "$code"
exit "$code\""""
