"""Kills `flan-jax prepare` at random moments, again and again, and compares what comes of it.

    python tools/dev/kill_prepare.py --mixture mini --kills 10 --seed 0 --processes 2

First an undisturbed run fills one store. Then the real command line fills another, is ended by
SIGKILL with all its processes at a random moment of its work, and continues; when it gets through
before all kills are spent, it begins anew. At the end of every round each file of the two stores is
compared, byte for byte. Prints one JSON object; exit code 1 if anything differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", default="mini")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--processes", type=int, default=2)
    arguments, options = parser.parse_known_args()
    if arguments.kills < 1:
        parser.error("--kills must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        result = study(Path(folder), arguments, options)
    print(json.dumps(result, indent=1))
    return 0 if result["equal"] else 1


def study(folder: Path, arguments: argparse.Namespace, options: list[str]) -> dict[str, object]:
    command = [sys.executable, "-m", "flan_jax.cli.main", "prepare", "--mixture", arguments.mixture]
    command += ["--processes", str(arguments.processes), *options]
    whole, killed = folder / "undisturbed", folder / "killed"
    whole_s = run_through([*command, "--store", str(whole)])
    idle_s = run_through([*command, "--store", str(whole)])  # everything is there: what a start costs
    draw = random.Random(arguments.seed)
    kills: list[dict[str, object]] = []
    rounds, leftovers, different = 0, 0, set()
    while len(kills) < arguments.kills:
        rounds += 1
        while len(kills) < arguments.kills:
            # On average the kills of a round fall over the whole of the work.
            delay = idle_s * draw.uniform(0.8, 1.0) + draw.uniform(0, 2 * (whole_s - idle_s) / arguments.kills)
            if not run_and_kill([*command, "--store", str(killed)], delay):
                break
            kills.append({"after_s": round(delay, 3), "splits_there": len(files_of(killed)[0]) // 4})
        run_through([*command, "--store", str(killed)])
        different |= differing(whole, killed)
        leftovers += len(files_of(killed)[1])
        if len(kills) < arguments.kills:
            shutil.rmtree(killed)
    files = files_of(whole)[0]
    return {
        "command": [Path(command[0]).name, *command[1:]],
        "seed": arguments.seed,
        "undisturbed_s": round(whole_s, 2),
        "start_s": round(idle_s, 2),
        "kills": kills,
        "rounds": rounds,
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files.values()),
        "half_written_files_left_aside": leftovers,
        "different": sorted(different),
        "equal": not different,
    }


def run_through(command: list[str]) -> float:
    begun = time.monotonic()
    outcome = subprocess.run(command, capture_output=True, text=True)
    if outcome.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {outcome.returncode}:\n{outcome.stderr}")
    return time.monotonic() - begun


def run_and_kill(command: list[str], delay: float) -> bool:
    """Whether it was still running, and was killed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended by itself with {process.returncode}")
    return False


def files_of(store: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files by their path in the store: those that a reader sees, and those in hidden folders."""
    seen: dict[str, Path] = {}
    hidden: dict[str, Path] = {}
    for file in sorted(store.rglob("*")):
        if file.is_file():
            path = file.relative_to(store)
            (hidden if any(part.startswith(".") for part in path.parts) else seen)[str(path)] = file
    return seen, hidden


def differing(one: Path, other: Path) -> set[str]:
    ours, theirs = files_of(one)[0], files_of(other)[0]
    return {
        name
        for name in {*ours, *theirs}
        if name not in ours or name not in theirs or ours[name].read_bytes() != theirs[name].read_bytes()
    }


if __name__ == "__main__":
    sys.exit(main())
