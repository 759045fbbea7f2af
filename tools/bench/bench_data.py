"""Measures the way from a prepared store to batches, beside plain seqio on the same examples.

    python tools/bench/bench_data.py --tasks 200 --peer seqio --json docs/benchmarks/data_200.json

Tasks are as long and as uneven as Super-NaturalInstructions' (see ``_bench_corpus.py``) and drawn by their sizes. Every
measurement is a process of its own and is repeated; a result is the median, with ``spread`` giving the least and the
greatest, and ``repeats`` everything that was reported. Both systems find their files in the page cache.

    first_batch_s       from opening the tasks to the first batch, imports (import_s) not counted
    peak_mb             most memory resident, mapped files included; after the imports it is import_peak_mb
    tokens_per_s_core   tokens that are no padding, both sides, on one CPU to which the process is pinned
    tokens_per_cpu_s    the same tokens by CPU time, which other processes do not disturb
    tokens_per_s        as tokens_per_s_core, on all cores; ours prefetches with one thread
    tokens_per_s_workers  ours with --workers processes
    padding             share of the cells of the rows that hold no token
    position_bytes      a saved position, and position_save_s the time to write it
    restore_s           a new process, imports not counted, from opening the tasks to the batch at a saved position
    restore_exact       whether that batch was the one that the saving process had next
    seek_s              from step 0 to the batch of step 1,000,000, without a saved position (ours)
"""

import argparse
import datetime
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _bench_corpus as corpus
from _bench_machine import machine, versions
from _bench_process import run

from flan_jax.store.store import TokenStore

OURS, PEER = "_bench_flan_jax.py", "_bench_seqio.py"
SEEK_STEP = 1_000_000
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    options = _options()
    limits = {"inputs": options.inputs, "targets": options.targets}
    drawn = corpus.draw(options.tasks, examples_per_task=options.examples_per_task, limits=limits, seed=options.seed)
    result = {
        "tasks": len(drawn),
        "examples": sum(drawn.sizes),
        "tokens": drawn.tokens,
        "examples_per_task": options.examples_per_task,
        "lengths": limits,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "seconds": options.seconds,
        "source_of_lengths": corpus.SOURCE,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions("flan-jax", "numpy", "pyarrow", "grain"),
    }
    with tempfile.TemporaryDirectory(prefix="bench_data_") as folder:
        _say(f"writing {len(drawn)} tasks, {result['examples']:,} examples, {result['tokens']:,} tokens")
        # What the store notes about files that it verified goes with them.
        os.environ["FLAN_JAX_CACHE"] = str(Path(folder) / "flan_jax")
        store = Path(folder) / "store"
        corpus.write_store(drawn, TokenStore(store), options.seed)
        settings = {
            "store": str(store),
            "split": corpus.SPLIT,
            "names": drawn.names,
            "fingerprints": drawn.fingerprints(options.seed),
            "seed": options.seed,
            "batch_size": options.batch_size,
            "lengths": limits,
            "seconds": options.seconds,
            "warm_up": options.seconds / 4,
        }
        if options.profile:
            profile = run(OURS, "profile", **settings, parallel={"prefetch": 0}, one_core=True)
            result["profile"] = {phase: profile[phase] for phase in ("first_batch", "steady")}
            _show_profile(result["profile"])
        elif options.soak:
            result["soak"] = run(OURS, "soak", **settings, parallel={"prefetch": 2}, soak=options.soak, one_core=False)
            for sample in result["soak"]["samples"]:
                print(json.dumps({name: round(value, 1) for name, value in sample.items()}))
        else:
            measure = {"flan_jax": lambda: _ours(settings, Path(folder), options.seek_timeout, options.workers)}
            if options.peer:
                result["versions"] |= versions("seqio", "tensorflow")
                cache = {**settings, "cache": str(Path(folder) / "cache"), "sizes": drawn.sizes}
                cache |= {"vocabulary_size": corpus.VOCABULARY_SIZE, "eos_id": corpus.EOS_ID}
                _say("seqio: caching the same examples")
                run(PEER, "cache", **cache)
                measure["seqio"] = lambda: _peer(cache, Path(folder), options.peer_timeout)
            repeats = {"flan_jax": options.repeats, "seqio": options.peer_repeats or options.repeats}
            result |= _repeated(measure, repeats)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        _say(f"written to {options.json}")
    elif not (options.profile or options.soak):
        print(json.dumps(result, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python tools/bench/bench_data.py --tasks 20 --peer seqio --repeats 1 --seconds 5",
    )
    parser.add_argument("--tasks", type=_positive, required=True, help="how many tasks the mixture has")
    parser.add_argument("--peer", choices=["seqio"], help="measure it too, on the same examples")
    parser.add_argument("--json", type=Path, help="file for the result; standard output otherwise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=_positive, default=3, help="of every measurement (default 3)")
    parser.add_argument("--peer_repeats", type=_positive, help="of the peer's (default: as --repeats)")
    parser.add_argument("--seconds", type=float, default=10, help="of each throughput, after a quarter as warm-up")
    parser.add_argument("--inputs", type=_positive, default=512, help="encoder tokens in a row (default 512)")
    parser.add_argument("--targets", type=_positive, default=128, help="decoder tokens in a row (default 128)")
    parser.add_argument("--batch_size", type=_positive, default=256, help="rows in a batch (default 256)")
    parser.add_argument(
        "--examples_per_task",
        type=int,
        default=100,
        help="at most (default 100, as the benchmark's training has it); 0: as many as the data set has",
    )
    parser.add_argument("--peer_timeout", type=float, default=1800, help="seconds for one process of the peer")
    parser.add_argument("--seek_timeout", type=float, default=60, help="seconds for our seek")
    parser.add_argument(
        "--workers", type=int, default=CORES, help="processes of our loader, measured besides (default: cores; 0: not)"
    )
    parser.add_argument("--profile", action="store_true", help="where our loader's time goes, and nothing else")
    parser.add_argument("--soak", type=float, default=0, help="only our loader's memory over so many seconds")
    return parser.parse_args()


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return int(text)


def _ours(settings: dict[str, Any], folder: Path, seek_timeout: float, processes: int) -> dict[str, Any]:
    """One repeat of everything that is measured of flan_jax."""
    paths = {name: str(folder / f"{name}.json") for name in ("near", "far", "unused")}
    # What a user gets who asks for nothing; one CPU and no thread; processes.
    usual = {"parallel": {}}
    all_cores = run(OURS, "feed", **settings, **usual, position=paths["near"])
    one_core = run(OURS, "feed", **settings, parallel={"prefetch": 0}, position=paths["unused"], one_core=True)
    workers = {}
    if processes:
        workers = run(OURS, "feed", **settings, parallel={"workers": processes}, position=paths["unused"])
    sought = run(OURS, "seek", timeout=seek_timeout, **settings, **usual, step=SEEK_STEP, position=paths["far"])
    # The later the saved step, the more a slow restore would show.
    found = "timed_out_after_s" not in sought
    restored = run(OURS, "restore", **settings, **usual, position=paths["far" if found else "near"])
    return {
        **_summary(all_cores, one_core),
        "tokens_per_s_workers": _rate(workers, "wall_s"),
        "restore_s": restored["restore_s"],
        "restore_step": SEEK_STEP if found else all_cores["position_step"],
        "restore_exact": restored["next_batch"] == (sought if found else all_cores)["next_batch"],
        "seek_s": sought.get("seek_s"),
        "raw": {
            "all_cores": all_cores,
            "one_core": one_core,
            "workers": workers,
            "seek": sought,
            "restore": restored,
        },
    }


def _peer(settings: dict[str, Any], folder: Path, timeout: float) -> dict[str, Any]:
    """One repeat of everything that is measured of seqio; what did not come within the time limit is ``None``."""
    with tempfile.TemporaryDirectory(dir=folder) as position:
        settings = {**settings, "position": position, "timeout": timeout}
        all_cores = run(PEER, "feed", **settings, save=True)
        one_core = run(PEER, "feed", **settings, save=False, one_core=True)
        restored = run(PEER, "restore", **settings) if "next_batch" in all_cores else {}
    return {
        **_summary(all_cores, one_core),
        "restore_s": restored.get("restore_s"),
        "restore_exact": restored["next_batch"] == all_cores["next_batch"] if "next_batch" in restored else None,
        "raw": {"all_cores": all_cores, "one_core": one_core, "restore": restored},
    }


def _summary(all_cores: dict[str, Any], one_core: dict[str, Any]) -> dict[str, Any]:
    tokens, cells = all_cores.get("tokens"), all_cores.get("cells")
    padding = None
    if tokens and cells:
        padding = {side: 1 - tokens[side] / cells[side] for side in tokens}
        padding["both"] = 1 - sum(tokens.values()) / sum(cells.values())
    return {
        **{key: all_cores.get(key) for key in ("import_s", "import_peak_mb", "first_batch_s", "peak_mb")},
        "tokens_per_s": _rate(all_cores, "wall_s"),
        "tokens_per_s_core": _rate(one_core, "wall_s"),
        "tokens_per_cpu_s": _rate(one_core, "cpu_s"),
        "padding": padding,
        **{key: all_cores.get(key) for key in ("position_bytes", "position_save_s")},
    }


def _rate(measured: dict[str, Any], clock: str) -> float | None:
    return sum(measured["tokens"].values()) / measured[clock] if "tokens" in measured else None


def _repeated(measure: dict[str, Callable[[], dict[str, Any]]], repeats: dict[str, int]) -> dict[str, Any]:
    """Every system as often as asked for, in turns, so that what else the machine does meets both."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in measure}
    for repeat in range(max(repeats[name] for name in measure)):
        for name, once in measure.items():
            if repeat < repeats[name]:
                _say(f"{name}: {repeat + 1} of {repeats[name]}")
                found[name].append(once())
                _say(f"  { {key: found[name][-1][key] for key in ('first_batch_s', 'peak_mb', 'tokens_per_s_core')} }")
    return {name: _medians(several) for name, several in found.items()}


def _medians(several: list[dict[str, Any]]) -> dict[str, Any]:
    """Of every number; of what is no number, the first. ``None`` where a repeat has none."""
    result: dict[str, Any] = {}
    spread: dict[str, tuple[float, float]] = {}
    for key in several[0]:
        values = [one[key] for one in several]
        if key == "raw":
            continue
        if any(value is None for value in values):
            result[key] = None
        elif isinstance(values[0], dict):
            result[key] = {part: statistics.median(value[part] for value in values) for part in values[0]}
        elif isinstance(values[0], bool):
            result[key] = all(values)
        else:
            result[key] = statistics.median(values)
            spread[key] = (min(values), max(values))
    timed_out = {name for one in several for name, raw in one["raw"].items() if "timed_out_after_s" in raw}
    return {**result, "timed_out": sorted(timed_out), "spread": spread, "repeats": [one["raw"] for one in several]}


def _show_profile(profile: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    meaning = {"own": "own time", "whole": "our functions with all that they call"}
    for phase, kinds in profile.items():
        for kind, costs in kinds.items():
            print(f"{phase}, {meaning[kind]}, under cProfile")
            for cost in costs:
                print(
                    f"  {cost['share']:6.1%}  {cost['seconds']:8.3f} s  {cost['calls']:>9,} calls  {cost['function']}"
                )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
