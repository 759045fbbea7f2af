#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, for tests: munge, a controller and a node daemon, all in one folder.
#   tools/dev/slurm_loopback.sh start FOLDER [CPUS]   prints the line that puts it into an environment
#   tools/dev/slurm_loopback.sh stop FOLDER           ends what start began, and nothing else
# Needs root (the daemons start tasks as other users do) and Debian's slurmctld, slurmd, slurm-client and munge. Nothing
# of the system's own configuration is read or changed.
set -euo pipefail

usage() {
  sed -n '2,4s/^# \?//p' "$0" >&2
  exit 2
}
[ $# -ge 2 ] || usage
verb=$1 folder=$2 cpus=${3:-8}
export PATH="$PATH:/usr/sbin:/sbin"

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

stop() {
  local name pid
  for name in slurmd slurmctld munged; do
    [ -s "$folder/$name.pid" ] || continue
    pid=$(<"$folder/$name.pid")
    # A number that another process has by now is left alone.
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ]; then
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 100); do
        [ -d "/proc/$pid" ] || break
        sleep 0.1
      done
      [ ! -d "/proc/$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$folder/$name.pid"
  done
}

if [ "$verb" = stop ]; then
  stop
  exit 0
fi
[ "$verb" = start ] || usage

if [ "$(id -u)" -ne 0 ]; then
  echo "slurm_loopback: root is needed to start Slurm's daemons" >&2
  exit 3
fi
for program in munged mungekey slurmctld slurmd sbatch; do
  if ! command -v "$program" >/dev/null; then
    echo "slurm_loopback: $program is missing; install slurmctld, slurmd, slurm-client and munge" >&2
    exit 3
  fi
done

mkdir -p "$folder"/{state,spool,log}
folder=$(cd "$folder" && pwd)
chmod 755 "$folder"
host=$(hostname -s)
controller_port=$(free_port)
node_port=$(free_port)
[ -s "$folder/munge.key" ] || mungekey --create --keyfile="$folder/munge.key" >/dev/null
chmod 600 "$folder/munge.key"

# A requeued job waits for as long as a credential lives: seconds here, two minutes by default.
cat >"$folder/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobRequeue=1
KillWait=30
MinJobAge=600
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF

trap stop ERR
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed" --num-threads=2
export SLURM_CONF="$folder/slurm.conf"
slurmctld -c
slurmd
for _ in $(seq 150); do
  if [ "$(sinfo --noheader --format %t 2>/dev/null)" = idle ]; then
    echo "export SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.2
done
echo "slurm_loopback: the node did not become idle within 30 s; its log:" >&2
tail -n 5 "$folder/log/slurmctld.log" "$folder/log/slurmd.log" >&2
stop
exit 1
