"""Trains for an hour on two processes while faults come at random, and compares the run with one that nobody touched.

    python tools/soak.py --json soak.json
    python tools/soak.py --minutes 10 --seed 3 --faults kill,pause

`flan-jax launch local --processes 2` trains a tiny T5 for `--minutes`, again and again started by the same command:

kill      SIGKILL to one process or to both
pause     SIGSTOP to one or both, for up to twenty seconds
disk      the disk of MODEL_DIR, a small file system in memory, is full for a while
storage   the copy of the run (`--mirror`, to a server of S3 on loopback) is reached through a proxy that breaks
          connections in their midst, refuses all, or is slow
lost      both are killed and MODEL_DIR is deleted: the run goes on from its copy

In the last third of the time only faults come that processes have to survive, so that some live long: their memory and
open files must not grow. Then the run is told to stop by SIGTERM, and ends a few steps later; another one trains to the
same step undisturbed. The state (weights, moments, random key), the position in the data, every line of metrics.jsonl and
every result must be the same to the bit, in MODEL_DIR and in the copy. Prints a table; exit code 1 if anything differs,
grew, or ended by itself. Linux alone; needs util-linux's unshare for `disk`, the extra `s3-test` for `storage` and `lost`.
"""

import argparse
import datetime
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chaos
from _soak_places import Bucket, SmallDisk, in_own_namespace
from _soak_processes import Watch, children, growth
from _soak_report import FAULTS, row, table

sys.path.append(str(Path(__file__).parent / "bench"))
from _bench_machine import machine, versions

SURVIVED = ("pause", "storage")
"""What no process may end by."""
DISK_MIB = 512
MORE_STEPS = 20
"""From the end of the disturbance to the end of the run."""
ENDLESS = 10**6
TRAINS_WITHIN_S = 600.0
"""A launch that takes longer hangs."""
QUICKLY_COMPILED = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
"""To start is most of what the run does."""
_POLL_S = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of the disturbed run; the other one comes on top")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and their moments")
    parser.add_argument("--faults", default=",".join(FAULTS), help="some of kill,pause,disk,storage,lost")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs there")
    arguments = parser.parse_args()
    asked = [name for name in arguments.faults.split(",") if name]
    if unknown := sorted(set(asked) - set(FAULTS)):
        parser.error(f"--faults has {unknown[0]!r}, which is none of {', '.join(FAULTS)}")
    if not arguments.minutes > 0 or not asked:
        parser.error("--minutes must be above 0, and --faults name at least one")
    left_out = {}
    if "disk" in asked and (why := in_own_namespace()):
        left_out["disk"] = why
    if any(importlib.util.find_spec(name) is None for name in ("moto", "s3fs")):
        left_out |= {name: "the extra s3-test is not installed" for name in ("storage", "lost") if name in asked}
    faults = [name for name in FAULTS if name in asked and name not in left_out]
    if not faults:
        parser.error(f"none of these faults can be made here: {left_out}")
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))  # so that the runs end with this process
    with tempfile.TemporaryDirectory(prefix="flan_jax_soak_") as folder:
        try:
            result = Soak(Path(folder), arguments.minutes, arguments.seed, faults).result() | {"left_out": left_out}
        finally:
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                for log in Path(folder).glob("*.log"):
                    shutil.copy2(log, arguments.keep)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(table(result)))
    return 0 if result["passed"] else 1


def command(folder: Path, steps: int, mirror: str = "") -> list[str]:
    """The command line of a tiny run on two processes, which saves and logs every few steps."""
    return [
        sys.executable, "-m", "flan_jax.cli.main", "launch", "local", "--processes", "2", "--max_restarts", "100000",
        "--unchecked", "--plan", "off", "--",
        "train", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin",
        "--gin.MIXTURE_OR_TASK_NAME=mini", "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", "--gin.BATCH_SIZE=8",
        "--gin.LOG_PERIOD=5", "--gin.CHECKPOINT_PERIOD=50", "--gin.EVAL_PERIOD=1000", "--gin.EvalConfig.suites=('held_out',)",
        "--gin.EvalConfig.max_examples=8", "--gin.EvalConfig.batch_size=4", "--gin.run.audit='off'",
        "--gin.T5Config.num_encoder_layers=1", "--gin.T5Config.num_decoder_layers=1",
        f"--gin.TRAIN_STEPS={steps}", f"--gin.MODEL_DIR={folder / 'run'}", f"--gin.STORE={folder.parent / 'store'}",
        *([f"--mirror={mirror}"] if mirror else []),
    ]  # fmt: skip


class Soak:
    """Both runs, below one folder."""

    def __init__(self, folder: Path, minutes: float, seed: int, faults: Sequence[str]) -> None:
        self.folder, self.minutes, self.seed, self.faults = folder, minutes, seed, list(faults)
        self.draw = random.Random(seed)
        self.disturbed, self.undisturbed = folder / "disturbed", folder / "undisturbed"
        self.events: list[dict[str, Any]] = []
        self.unexpected: list[str] = []
        self.starts = 0
        self.watch = Watch()
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
        os.environ.setdefault("XLA_FLAGS", QUICKLY_COMPILED)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        self.disk = SmallDisk(self.disturbed, DISK_MIB) if "disk" in faults else None
        self.bucket = Bucket(folder, random.Random(seed + 1)) if {"storage", "lost"} & set(faults) else None
        self._launch: subprocess.Popen[bytes] | None = None

    def result(self) -> dict[str, Any]:
        """Does all of it; returns what `--json` writes."""
        before = machine()
        try:
            disturbed_s = self._disturb()
            steps = self._reached() + MORE_STEPS
            self._run_through("disturbed", self.disturbed, steps)
            begun = time.monotonic()
            self._run_through("undisturbed", self.undisturbed, steps)
            undisturbed_s = time.monotonic() - begun
            different = chaos.differing(self.undisturbed / "run", self.disturbed / "run")
            copy_different = self._copy_different()
        finally:
            self._end()
        lives = [found for life in self.watch.lives() if (found := growth(life)) is not None]
        compared = chaos.compared(self.undisturbed / "run")
        flat = all(life["flat"] for life in lives) if lives else None
        return {
            "command": ["flan-jax", *command(Path("FOLDER"), ENDLESS, "ADDRESS" if self.bucket else "")[3:]],
            "date": datetime.date.today().isoformat(),
            "machine": before,
            "versions": versions("jax", "jaxlib", "flax", "orbax-checkpoint", *(["moto", "s3fs"] if self.bucket else [])),
            "xla_flags": os.environ["XLA_FLAGS"],
            "seed": self.seed,
            "minutes": round(disturbed_s / 60, 2),
            "undisturbed_minutes": round(undisturbed_s / 60, 2),
            "steps": steps,
            "starts": self.starts,
            "processes_seen": len(self.watch.lives()),
            "longest_stall_s": round(self.watch.longest_stall_s, 1),
            "connections_broken": self.bucket.broken if self.bucket else 0,
            "uploads_put_off": self._log().count("Training goes on"),
            "events": self.events,
            "unexpected": self.unexpected,
            "lives": lives,
            "flat": flat,
            "compared": {
                "arrays": sum(name.startswith("state ") for name in compared),
                "lines and files": sum(not name.startswith("state ") for name in compared),
            },
            "different": sorted(different),
            "copy_different": copy_different,
            "passed": not (different or copy_different or self.unexpected or flat is False),
        }  # fmt: skip

    # --- the disturbed run ---------------------------------------------------------------------------------------------

    def _disturb(self) -> float:
        """Returns how many seconds it took, from the first step to the last."""
        self._start()
        self._wait_for_training()
        begun = time.monotonic()
        while (now := time.monotonic()) < begun + self.minutes * 60:
            self._start()
            if self.draw.random() < 0.8 or len(self.events) % 5 == 0:
                self._wait_for_training()
            self._sleep(self.draw.uniform(1, 15))
            late = now > begun + self.minutes * 40  # seconds: the last third
            kinds = [kind for kind in self.faults if not late or kind in SURVIVED]
            if not kinds:
                self._sleep(_POLL_S)
                continue
            at_s = round(time.monotonic() - begun, 1)
            self.events.append({"at_s": at_s, **self._fault(self.draw.choice(kinds))})
            print(row(len(self.events), self.events[-1]), file=sys.stderr, flush=True)
        self._start()
        self._wait_for_training()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait()
        if code != 75:
            self.unexpected.append(f"SIGTERM ended the run with {code}: {self._last_words()}")
        return time.monotonic() - begun

    def _fault(self, kind: str) -> dict[str, Any]:
        """Makes a fault and waits until the run trains again; returns what happened."""
        before, begun = self._reached(), time.monotonic()
        expected: tuple[int, ...] = ()
        detail = ""
        if kind == "kill":
            processes = self._some()
            detail = f"process {' and '.join(map(str, processes))}"
            self._send(signal.SIGKILL, processes.values())
            expected = (1, 75, 137, 143)
        elif kind == "lost":
            # launch first, which would start the others again
            launch, processes = self._process, children(self._process.pid)
            launch.kill()
            self._send(signal.SIGKILL, processes.values())
            launch.wait()
            time.sleep(0.5)
            shutil.rmtree(self.disturbed / "run", ignore_errors=True)
            detail, expected = "MODEL_DIR is gone", (-9,)
        elif kind == "pause":
            seconds, processes = self.draw.uniform(1, 20), self._some()
            detail = f"process {' and '.join(map(str, processes))} for {seconds:.1f} s"
            self._send(signal.SIGSTOP, processes.values())
            time.sleep(seconds)
            self._send(signal.SIGCONT, processes.values())
        elif kind == "disk":
            assert self.disk is not None
            seconds = self.draw.uniform(3, 20)
            taken = self.disk.fill()
            detail, expected = f"{taken / 2**20:.0f} MiB taken for {seconds:.1f} s", (1, 2)
            self._sleep(seconds)
            self.disk.free()
        elif kind == "storage":
            assert self.bucket is not None
            seconds, broken = self.draw.uniform(5, 30), self.bucket.broken
            self.bucket.mode = mode = self.draw.choice(("drop", "refuse", "slow"))
            starting = not self._trains()  # it fetches the copy's list then, and ends where it cannot
            self._sleep(seconds)
            self.bucket.mode = "pass"
            detail = f"{mode} for {seconds:.1f} s, {self.bucket.broken - broken} connections broken"
            expected = (2,) if starting else ()
        restarts = self._wait_for_training(expected, kind)
        return {
            "fault": kind,
            "detail": detail,
            "at_step": before,
            "ended_with": restarts,
            "trains_after_s": round(time.monotonic() - begun, 1),
        }

    def _wait_for_training(self, expected: tuple[int, ...] = (), cause: str = "nothing") -> list[int]:
        """Waits for the next logged step; returns the exit codes of launches that ended before, and starts them again."""
        since, deadline, codes = time.time(), time.monotonic() + TRAINS_WITHIN_S, []
        while not self._logged_since(since):
            code = self._process.poll()
            if code is not None:
                codes.append(code)
                if code not in expected:
                    self.unexpected.append(f"after {cause} the run ended with {code}: {self._last_words()}")
                    if len(self.unexpected) > 5:
                        raise SystemExit("\n".join(self.unexpected))
                self._start()
            if time.monotonic() > deadline:
                self.unexpected.append(f"after {cause} no step in {TRAINS_WITHIN_S:g} s: {self._last_words()}")
                raise SystemExit("\n".join(self.unexpected))
            time.sleep(_POLL_S)
        self.watch.trains()
        return codes

    def _some(self) -> dict[int, int]:
        """One of the processes, or all of them: number → process id."""
        processes = children(self._process.pid)
        if len(processes) > 1 and self.draw.random() < 0.6:
            number = self.draw.choice(sorted(processes))
            return {number: processes[number]}
        return dict(sorted(processes.items()))

    def _send(self, signum: int, processes: Any) -> None:
        for process in processes:
            try:
                os.kill(process, signum)
            except ProcessLookupError:
                continue

    def _sleep(self, seconds: float) -> None:
        """Waits, at most until the run ends."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._process.poll() is None:
            time.sleep(_POLL_S)

    # --- launches ------------------------------------------------------------------------------------------------------

    @property
    def _process(self) -> "subprocess.Popen[bytes]":
        assert self._launch is not None
        return self._launch

    def _start(self) -> None:
        if self._launch is None or self._launch.poll() is not None:
            self._begin("disturbed", command(self.disturbed, ENDLESS, self.bucket.address if self.bucket else ""))
            self.starts += 1

    def _begin(self, run: str, words: list[str]) -> None:
        environment = {**os.environ, **(self.bucket.environment() if self.bucket else {})}
        with (self.folder / f"{run}.log").open("ab") as log:
            self._launch = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        self.watch.follow(run, self._launch.pid)

    def _run_through(self, run: str, folder: Path, steps: int) -> None:
        mirror = self.bucket.address if self.bucket and run == "disturbed" else ""
        self._begin(run, command(folder, steps, mirror))
        metrics, stepped = folder / "run" / "metrics.jsonl", False
        while self._process.poll() is None:
            if not stepped and run == "undisturbed" and metrics.is_file() and metrics.stat().st_size:
                stepped = True
                self.watch.trains()
            time.sleep(_POLL_S)
        if code := self._process.returncode:
            self.unexpected.append(f"the {run} run ended with {code}: {self._last_words(run)}")
            raise SystemExit("\n".join(self.unexpected))

    def _end(self) -> None:
        if self._launch is not None and self._launch.poll() is None:
            processes = children(self._launch.pid)
            self._launch.kill()
            self._send(signal.SIGKILL, processes.values())
        if self.bucket:
            self.bucket.close()
        if self.disk:
            self.disk.close()

    # --- what there is -------------------------------------------------------------------------------------------------

    def _trains(self) -> bool:
        return self._logged_since(time.time() - 10)

    def _logged_since(self, when: float) -> bool:
        """Tells whether a step was logged; what a resumed run takes back of the file is written at once, too, so after that."""
        try:
            metrics = self.disturbed / "run" / "metrics.jsonl"
            if metrics.stat().st_mtime <= when:
                return False
            processes = children(self._process.pid)
            youngest = max((Path(f"/proc/{process}").stat().st_mtime for process in processes.values()), default=0)
            lines = metrics.read_bytes().split(b"\n")[:-1]  # the last one may be half-written still
        except FileNotFoundError:
            return False
        logged = json.loads(lines[-1])["step"] if lines else 0
        return len(processes) == 2 and metrics.stat().st_mtime > youngest and logged > self._reached()

    def _reached(self) -> int:
        folder = self.disturbed / "run" / "checkpoints"
        try:
            return max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
        except FileNotFoundError:
            return 0

    def _copy_different(self) -> list[str]:
        """Fetches the copy into another folder, and compares that too."""
        if self.bucket is None:
            return []
        import fsspec

        from flan_jax.experiments.run_folder.mirror import RunMirror

        fsspec.config.conf["s3"] = self.bucket.options()
        fetched = self.folder / "fetched" / "run"
        RunMirror(self.bucket.address, fetched).restore()
        return sorted(chaos.differing(self.undisturbed / "run", fetched))

    def _log(self, run: str = "disturbed") -> str:
        return (self.folder / f"{run}.log").read_text(errors="replace")

    def _last_words(self, run: str = "disturbed") -> str:
        return "\n".join(self._log(run).splitlines()[-8:])


if __name__ == "__main__":
    sys.exit(main())
