"""Kills `flan-jax train` again and again, and compares what comes of it with a run that nobody touched, bit for bit.

    python tools/chaos.py --kills 20 --seed 0 --json chaos.json
    python tools/chaos.py --kills 3 --steps 8 -- --gin.MIXTURE_OR_TASK_NAME=my_mixture

One run trains a tiny T5 to its end undisturbed. Another, in a folder and with a store of its own, is ended by SIGKILL
in the midst of preparing, saving, measuring or training, at a random moment of each, and started again by the same
command; every fifth stop is a SIGTERM, which has to save and to end with exit code 75. When it gets through
before all kills are spent, it begins anew. At the end of each round the state of the last checkpoint (weights, moments,
random key), its position in the data, every line of metrics.jsonl, and every result and prediction are compared with the
undisturbed run's; only seconds may differ. Prints a table; exit code 1 if anything differs.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MOMENTS = ("prepare", "save", "evaluate", "train", "any")
TIMES = ("seconds", "per_second", "wait", "mfu", "speed")
"""Parts of the names of what depends on the clock."""
_POLL_S = 0.002


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there, too")
    parser.add_argument("more", nargs="*", help="behind --: further options of the run")
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error("--kills must be at least 1")
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))  # so that the run ends with this process
    with tempfile.TemporaryDirectory(prefix="flan_jax_chaos_") as folder:
        result = chaos(Path(folder), arguments.kills, arguments.seed, arguments.steps, arguments.more)
    text = json.dumps(result, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print("\n".join(table(result)))
    return 0 if result["equal"] else 1


def chaos(folder: Path, kills: int, seed: int, steps: int, more: list[str]) -> dict[str, Any]:
    """Does all of it below `folder`; returns what `--json` writes."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    whole, broken = folder / "undisturbed", folder / "killed"
    begun = time.monotonic()
    run_through(command(whole, steps, more))
    whole_s = time.monotonic() - begun
    draw = random.Random(seed)
    stops: list[dict[str, Any]] = []
    rounds, different = 0, set()
    while len(stops) < kills:
        rounds += 1
        shutil.rmtree(broken, ignore_errors=True)
        while len(stops) < kills:
            prepared = any((broken / "store").glob("*"))
            kind = "prepare" if not prepared and not stops else draw.choice(MOMENTS[1:])
            signum = signal.SIGTERM if len(stops) % 5 == 4 and kind == "train" else signal.SIGKILL
            stop = run_and_stop(command(broken, steps, more), broken / "run", kind, signum, draw, whole_s)
            if stop is None:
                break
            stops.append({**stop, "round": rounds})
            print(_row(len(stops), stops[-1]), file=sys.stderr, flush=True)
        run_through(command(broken, steps, more))
        different |= differing(whole / "run", broken / "run")
    return {
        "command": ["flan-jax", *command(Path("FOLDER"), steps, more)[3:]],
        "seed": seed,
        "undisturbed_s": round(whole_s, 2),
        "stops": stops,
        "rounds": rounds,
        "compared": sorted(compared(whole / "run")),
        "different": sorted(different),
        "equal": not different,
    }


def command(folder: Path, steps: int, more: list[str]) -> list[str]:
    """The command line of a tiny run that saves, measures and logs every few steps."""
    return [
        sys.executable, "-m", "flan_jax.cli.main", "train", "--gin_file", "models/t5_tiny.gin", "--gin_file", "runs/finetune.gin",
        "--gin.MIXTURE_OR_TASK_NAME=mini", "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}", "--gin.BATCH_SIZE=8",
        "--gin.LOG_PERIOD=1", "--gin.CHECKPOINT_PERIOD=2", "--gin.EVAL_PERIOD=6", "--gin.EvalConfig.suites=('held_out',)",
        "--gin.EvalConfig.max_examples=8", "--gin.EvalConfig.batch_size=4", "--gin.run.audit='off'",
        f"--gin.TRAIN_STEPS={steps}", f"--gin.MODEL_DIR={folder / 'run'}", f"--gin.STORE={folder / 'store'}", *more,
    ]  # fmt: skip


def run_through(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")


def run_and_stop(
    words: list[str], run: Path, kind: str, signum: int, draw: random.Random, whole_s: float
) -> dict[str, Any] | None:
    """Starts a run and stops it in the moment that was drawn; None where it came to its end before."""
    late = {"prepare": 1.0, "save": 0.05, "evaluate": 0.3, "train": 0.1, "any": whole_s}[kind]
    delay, begun = draw.uniform(0, late), time.monotonic()
    due = _moment(run, kind, draw.randint(1, 8))
    log = run.parent.with_name(f"{run.parent.name}.log")
    with log.open("w") as stderr:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)
        try:
            while process.poll() is None and not due():
                time.sleep(_POLL_S)
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signum)
            process.wait()
        except BaseException:  # this process is told to end
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode == 0:
        return None
    wanted = (75, 143) if signum == signal.SIGTERM else (-signum,)
    if process.returncode not in wanted:
        sys.exit(f"{' '.join(words)} ended by itself with {process.returncode}:\n{log.read_text()}")
    return {
        "asked": kind,
        "signal": signal.Signals(signum).name,
        "code": process.returncode,
        "after_s": round(time.monotonic() - begun, 2),
        "found": found_in(run),
        "steps_logged": _lines(run),
        "newest_checkpoint": max(_steps(run), default=0),
    }


def _moment(run: Path, kind: str, lines: int) -> Callable[[], bool]:
    """Tells, asked again and again, that a moment of the kind has come in a run that was just started."""
    store, logged, known = run.parent / "store", _lines(run), set(_answers(run))
    if kind == "prepare":
        return lambda: any(store.rglob("*.arrow*"))
    if kind == "save":
        return lambda: _saving(run)
    if kind == "evaluate":
        return lambda: set(_answers(run)) != known
    if kind == "train":
        return lambda: _lines(run) not in range(logged, logged + lines) and _lines(run) > 0
    return lambda: True


def found_in(run: Path) -> str:
    """What was under way, as the folder shows it."""
    if _saving(run):
        return "half a checkpoint"
    journals = [path for path in (run / "eval").rglob("answers.journal")] if (run / "eval").is_dir() else []
    if any(not (path.parent / "results.json").is_file() for path in journals):
        return "half an evaluation"
    if not (run / "manifest.json").is_file():
        return "not begun"
    return "between files"


def _saving(run: Path) -> bool:
    folder = run / "checkpoints"
    try:
        return folder.is_dir() and any("tmp" in path.name for path in folder.iterdir())
    except FileNotFoundError:
        return False


def _answers(run: Path) -> dict[str, int]:
    """Files below eval/ with their sizes, of which there are more once something is measured."""
    found = {}
    for path in (run / "eval").rglob("*"):
        try:
            found[f"{path} {path.stat().st_size}"] = 1
        except FileNotFoundError:
            continue
    return found


def _lines(run: Path) -> int:
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _steps(run: Path) -> list[int]:
    folder = run / "checkpoints"
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []


def compared(run: Path) -> dict[str, Any]:
    """Everything of a finished run that must not depend on stops: name → bytes or plain values without times."""
    found: dict[str, Any] = {}
    for number, line in enumerate((run / "metrics.jsonl").read_text().splitlines()):
        found[f"metrics.jsonl line {number + 1}"] = without_times(json.loads(line))
    for path in sorted((run / "eval").rglob("*")):
        name = str(path.relative_to(run))
        if path.name == "results.json":
            found[name] = without_times(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = path.read_bytes()
    newest = run / "checkpoints" / str(max(_steps(run)))
    found["position in the data"] = json.loads((newest / "data" / "metadata").read_text())
    found.update(arrays_of(newest / "state"))
    return found


def arrays_of(state: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Arrays of a saved state by their path: type, shape and bytes."""
    import jax
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)  # the item has no metadata of its own
    handler = ocp.PyTreeCheckpointer()
    like = handler.metadata(state).item_metadata.tree
    arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    tree = handler.restore(state, restore_args=arguments)
    leaves = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}
    return {f"state {path}": (str(leaf.dtype), leaf.shape, leaf.tobytes()) for path, leaf in leaves.items()}


def without_times(value: Any) -> Any:
    """JSON without what depends on the clock."""
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if not any(part in name for part in TIMES)}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def differing(one: Path, other: Path) -> set[str]:
    """Names of what differs between two finished runs, or is in one of them alone."""
    ours, theirs = compared(one), compared(other)
    return {name for name in {*ours, *theirs} if name not in ours or name not in theirs or ours[name] != theirs[name]}


def table(result: dict[str, Any]) -> list[str]:
    """The stops as lines of text, and what was compared."""
    lines = [
        f"{'stop':>4}  {'asked':<9}{'signal':<9}{'code':>5}{'after':>9}  {'found':<20}{'logged':>7}{'checkpoint':>11}"
    ]
    lines += [_row(number, stop) for number, stop in enumerate(result["stops"], start=1)]
    arrays = sum(name.startswith("state ") for name in result["compared"])
    others = len(result["compared"]) - arrays
    verdict = "nothing differs" if result["equal"] else f"{len(result['different'])} differ: {result['different'][:5]}"
    return [*lines, f"{result['rounds']} rounds, {arrays} arrays and {others} lines and files compared: {verdict}"]


def _row(number: int, stop: dict[str, Any]) -> str:
    return (
        f"{number:>4}  {stop['asked']:<9}{stop['signal']:<9}{stop['code']:>5}{stop['after_s']:>8.2f}s  {stop['found']:<20}"
        f"{stop['steps_logged']:>7}{stop['newest_checkpoint']:>11}"
    )


if __name__ == "__main__":
    sys.exit(main())
