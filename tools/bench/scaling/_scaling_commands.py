"""The time from the command `flan-jax train` to its first step, in a new run and in one that is continued."""

import dataclasses
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _bench_rounds import log

_SETTINGS = re.compile(r"training [\d,]+ parameters")
_RESUMING = re.compile(r"resuming at step (\d+)")
_STEP = re.compile(r"step (\d+)/\d+ ")
_JAX = {
    "trace_s": re.compile(r"Finished tracing .* in ([\d.e-]+) sec"),
    "lower_s": re.compile(r"Finished jaxpr to MLIR module conversion .* in ([\d.e-]+) sec"),
    "compile_s": re.compile(r"Finished XLA compilation of .* in ([\d.e-]+) sec"),
}
"""What JAX says of its own time where `JAX_LOG_COMPILES` is set."""
_CACHE = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


@dataclasses.dataclass(frozen=True)
class StartedRun:
    """A run of the embedded tasks.

    Attributes:
        model: gin file of the model.
        folder: where runs, their store and caches go.
        bindings: further ones.
        mixture: or task.
        rows: of the batch.
    """

    model: str
    folder: Path
    bindings: tuple[str, ...] = ()
    mixture: str = "mini"
    rows: int = 8

    def command(self, name: str, steps: int) -> list[str]:
        """`flan-jax train` of the run of this name, to so many steps, without evaluation."""
        macros = {
            "MIXTURE_OR_TASK_NAME": self.mixture,
            "TASK_FEATURE_LENGTHS": {"inputs": 96, "targets": 32},
            "BATCH_SIZE": self.rows,
            "TRAIN_STEPS": steps,
            "LOG_PERIOD": 1,
            "MODEL_DIR": str(self.folder / name),
            "STORE": str(self.folder / "store"),
        }
        bindings = [f"--gin.{key}={value!r}" for key, value in macros.items()]
        files = [part for file in (self.model, "runs/finetune.gin") for part in ("--gin_file", file)]
        command = [sys.executable, "-m", "flan_jax.cli.main", "train", *files, *bindings]
        return [*command, "--gin.EvalConfig.suites=()", *self.bindings]


def startup(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Measures a new run's way to its first step, its tasks prepared before: without a cache of programs, and with one.

    Args:
        settings: ``model``, ``bindings``, ``mixture``, ``rows`` and ``rounds``.

    Returns:
        ``off``, ``cold`` (an empty cache) and ``warm`` (the one that the cold start left): of each the median of the rounds
        and every one of them, as `to_first_step` has it; and ``with_preparation``: the start that prepared the tasks.
    """
    with tempfile.TemporaryDirectory(prefix="bench_startup_") as scratch:
        run, rounds = _run_of(settings, Path(scratch)), settings["rounds"]
        found: dict[str, list[dict[str, float]]] = {"off": [], "cold": [], "warm": []}
        off = _environment(Path(scratch), None)
        prepared = to_first_step(run.command("prepared", 1), off)
        for index in range(rounds):
            cache = Path(scratch) / f"programs_{index}"
            for name, environment in (
                ("off", off),
                ("cold", _environment(Path(scratch), cache)),
                ("warm", _environment(Path(scratch), cache)),
            ):
                found[name].append(to_first_step(run.command(f"{name}_{index}", 1), environment))
                log(f"start-up, {name}: {found[name][-1]['first_step_s']:.1f} s")
    return {**settings, "with_preparation": prepared, **{name: _summed_up(own) for name, own in found.items()}}


def resume(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Measures a continued run's way to its first new step, without a cache of programs and with a warm one.

    Args:
        settings: as of `startup`.

    Returns:
        ``off`` and ``warm``, as `startup` has them; ``checkpoint_bytes``.
    """
    with tempfile.TemporaryDirectory(prefix="bench_resume_") as scratch:
        run, steps = _run_of(settings, Path(scratch)), 2
        environments = {
            "off": _environment(Path(scratch), None),
            "warm": _environment(Path(scratch), Path(scratch) / "programs"),
        }
        found: dict[str, list[dict[str, float]]] = {"off": [], "warm": []}
        to_first_step(run.command("run", steps), environments["warm"])
        size = sum(path.stat().st_size for path in (run.folder / "run" / "checkpoints").rglob("*") if path.is_file())
        for _ in range(settings["rounds"]):
            for name, environment in environments.items():
                steps += 1
                found[name].append(to_first_step(run.command("run", steps), environment, resumed_at=steps - 1))
                log(f"resume, {name}: {found[name][-1]['first_step_s']:.1f} s")
    return {**settings, "checkpoint_bytes": size, **{name: _summed_up(own) for name, own in found.items()}}


def _run_of(settings: Mapping[str, Any], folder: Path) -> StartedRun:
    return StartedRun(settings["model"], folder, tuple(settings["bindings"]), settings["mixture"], settings["rows"])


def _environment(scratch: Path, programs: Path | None) -> dict[str, str]:
    """Ours, with a cache of programs of its own under JAX's default rules of what is worth keeping, or with none."""
    kept = {name: value for name, value in os.environ.items() if name not in _CACHE}
    own = (
        {"JAX_ENABLE_COMPILATION_CACHE": "false"} if programs is None else {"JAX_COMPILATION_CACHE_DIR": str(programs)}
    )
    return {**kept, **own, "JAX_LOG_COMPILES": "1", "FLAN_JAX_CACHE": str(scratch / "cache")}


def to_first_step(
    command: Sequence[str], environment: Mapping[str, str], *, resumed_at: int | None = None
) -> dict[str, float]:
    """Starts a command, waits for its end, and returns the seconds from its start to what it said.

    Args:
        command: of a training run that logs every step.
        environment: of the process, with `JAX_LOG_COMPILES`.
        resumed_at: the step that it must say to go on from.

    Returns:
        ``settings_s`` (imported, configured, data opened and checked), ``resuming_s`` where it resumes, ``first_step_s``
        (the first step's numbers are logged), ``cpu_s`` (of the process until then); and of the time until then what JAX
        says it spent: ``trace_s``, ``lower_s``, ``compile_s``, nested calls counted in each.

    Raises:
        RuntimeError: it failed, or did not say what it must.
    """
    begun = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=dict(environment)
    )
    assert process.stderr is not None
    found: dict[str, float] = dict.fromkeys(_JAX, 0.0)
    said: list[str] = []
    for line in process.stderr:
        now = time.monotonic() - begun
        said.append(line)
        if "first_step_s" in found:
            continue
        for name, pattern in _JAX.items():
            if spent := pattern.search(line):
                found[name] += float(spent[1])
        if _SETTINGS.match(line):
            found["settings_s"] = now
        elif (resuming := _RESUMING.match(line)) and int(resuming[1]) == resumed_at:
            found["resuming_s"] = now
        elif _STEP.match(line):
            found |= {"first_step_s": now, "cpu_s": _cpu_seconds(process.pid)}
    code = process.wait()
    wanted = {"settings_s", "first_step_s", *(["resuming_s"] if resumed_at is not None else [])}
    if code or not wanted <= set(found):
        raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{''.join(said)[-3000:]}")
    return found


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process so far, its ended children's left out; NaN where the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _summed_up(starts: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    medians = {name: statistics.median(start[name] for start in starts) for name in starts[0]}
    return {**medians, "runs": [dict(start) for start in starts]}
