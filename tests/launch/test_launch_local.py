"""Processes on this machine: they are joined, begin again on 75, end with the first that fails, and hear SIGTERM."""

import os
import signal
import sys
import threading

import pytest

from flan_jax import signals
from flan_jax.launch.job import Job
from flan_jax.launch.local import local_text, run_local
from flan_jax.launch.options import LocalLaunch
from flan_jax.launch.record import events

JOIN = """
import os, jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
given = os.environ
jax.distributed.initialize(
    given["JAX_COORDINATOR_ADDRESS"], int(given["JAX_NUM_PROCESSES"]), int(given["JAX_PROCESS_ID"])
)
from jax.experimental.multihost_utils import process_allgather
print("sum", process_allgather(jax.numpy.asarray([jax.process_index() + 1])).sum())
"""


def launched(tmp_path, script, *, show=None, **options):
    """Runs a script in so many processes; the exit code and what each printed."""
    job = Job(("-c", script), "test", tmp_path / "launch", program=(sys.executable,), working_dir=tmp_path)
    job.folder.mkdir()
    said = []

    def noted(number, line):
        said.append((number, line))
        if show:
            show(number, line)

    code = run_local(job, LocalLaunch(**options), noted)
    return code, sorted(said), [(event["event"], event["code"]) for event in events(job.folder)]


def test_processes_are_one_group(tmp_path):
    code, said, _ = launched(tmp_path, JOIN, processes=2, cpu_devices=1)
    assert code == 0, said
    assert [line for line in said if line[1].startswith("sum")] == [(0, "sum 3"), (1, "sum 3")]
    assert (tmp_path / "launch/process_1.log").read_text().endswith("sum 3\n")


def test_begins_again_on_75_as_often_as_it_may(tmp_path):
    again = "import os, sys; first = not os.path.exists('x'); open('x', 'w'); sys.exit(75 if first else 0)"
    code, _, noted = launched(tmp_path, again)
    assert (code, noted) == (0, [("started", 0), ("requeued", 75), ("started", 0), ("ended", 0)])
    (tmp_path / "b").mkdir()
    code, _, noted = launched(tmp_path / "b", "raise SystemExit(75)", max_restarts=2)
    assert (code, [event for event, _ in noted]) == (75, ["started", "requeued"] * 2 + ["started", "ended"])


def test_the_others_end_with_the_first_that_fails(tmp_path):
    script = "import os, time\nif os.environ['JAX_PROCESS_ID'] == '1': raise SystemExit(2)\ntime.sleep(60)"
    code, _, noted = launched(tmp_path, script, processes=2, grace_s=1)
    assert code == 2
    assert noted[-1] == ("ended", 2)


def test_sigterm_goes_on_to_all_and_nothing_begins_again(tmp_path):
    script = """
import signal, sys, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("ready", flush=True)
while not stop.wait(0.05): pass
sys.exit(75)
"""
    ready = []

    def show(number, line):
        ready.append(number)
        if len(ready) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with signals.handled("nothing is left"):
        code, _, noted = launched(tmp_path, script, processes=2, show=show)
    assert threading.current_thread() is threading.main_thread()
    assert code == 75
    assert noted == [("started", 0), ("ended", 75)]


def test_says_what_it_would_start(tmp_path):
    job = Job(("train",), "x", tmp_path, program=("flan-jax",))
    text = local_text(job, LocalLaunch(processes=2, gpus_per_process=2, env=("A=b c",)))
    assert text.splitlines()[1] == (
        "A='b c' JAX_COORDINATOR_ADDRESS=127.0.0.1:PORT JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=1 CUDA_VISIBLE_DEVICES=2,3 flan-jax train"
    )
    assert local_text(job, LocalLaunch()) == "flan-jax train\n"


@pytest.mark.parametrize("flags", ["", "--xla_force_host_platform_device_count=8 --xla_other=1"])
def test_devices_that_are_simulated_replace_those_of_the_surroundings(monkeypatch, flags, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", flags)
    text = local_text(Job(("train",), "x", tmp_path), LocalLaunch(cpu_devices=2))
    assert text.count("device_count") == 1
    assert "--xla_force_host_platform_device_count=2" in text
    assert ("--xla_other=1" in text) == bool(flags)
