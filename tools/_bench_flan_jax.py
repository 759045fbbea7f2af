"""What ``bench_data.py`` measures of flan_jax, each mode in a process of its own."""

import cProfile
import hashlib
import inspect
import json
import os
import pstats
import time
from pathlib import Path
from typing import Any

from _bench_process import Report, measured, peak_mb, throughput


def main(mode: str, settings: dict[str, Any], report: Report) -> None:
    begun = time.perf_counter()
    import flan_jax.feed.loader
    import flan_jax.feed.store  # noqa: F401

    report(import_s=time.perf_counter() - begun, import_peak_mb=peak_mb())
    {"feed": feed, "restore": restore, "seek": seek, "profile": profile}[mode](settings, report)


def open_loader(settings: dict[str, Any]) -> tuple[Any, dict[str, int]]:
    """The loader over all tasks of the store, drawn by their sizes, and what it was told about parallel work."""
    from flan_jax.feed.loader import PackedBatches
    from flan_jax.feed.store import TokenStore

    store = TokenStore(settings["store"])
    tasks = [store.open(name, settings["split"]) for name in settings["names"]]
    if settings["parallel"]:
        parallel = {"prefetch": 2}
        if "workers" in inspect.signature(PackedBatches).parameters:
            parallel["workers"] = len(os.sched_getaffinity(0))
    else:
        parallel = {"prefetch": 0}
    loader = PackedBatches(
        tasks,
        [len(task) for task in tasks],
        seed=settings["seed"],
        batch_size=settings["batch_size"],
        lengths=settings["lengths"],
        **parallel,
    )
    return loader, parallel


def feed(settings: dict[str, Any], report: Report) -> None:
    """First batch, throughput, and a saved position with the digest of the batch after it."""
    begun = time.perf_counter()
    loader, parallel = open_loader(settings)
    opened = time.perf_counter()
    next(loader)
    report(
        open_s=opened - begun,
        first_batch_s=time.perf_counter() - begun,
        first_batch_peak_mb=peak_mb(),
        parallel=parallel,
    )
    report(**throughput(loader, settings["seconds"], settings["warm_up"]), peak_mb=peak_mb())
    begun = time.perf_counter()
    position = json.dumps(loader.get_state()).encode()
    Path(settings["position"]).write_bytes(position)
    report(
        position_save_s=time.perf_counter() - begun,
        position_bytes=len(position),
        position_step=loader.step,
        next_batch=digest(next(loader)),
    )
    loader.close()


def restore(settings: dict[str, Any], report: Report) -> None:
    """A new loader at a saved position: from opening the tasks to the batch there."""
    begun = time.perf_counter()
    loader, _ = open_loader(settings)
    loader.set_state(json.loads(Path(settings["position"]).read_bytes()))
    batch = next(loader)
    report(restore_s=time.perf_counter() - begun, next_batch=digest(batch))
    loader.close()


def seek(settings: dict[str, Any], report: Report) -> None:
    """A step far away, and its position saved."""
    loader, _ = open_loader(settings)
    begun = time.perf_counter()
    loader.seek(settings["step"])
    report(seek_s=time.perf_counter() - begun, seek_step=settings["step"])
    position = json.dumps(loader.get_state()).encode()
    report(seek_next_batch=digest(next(loader)), seek_first_batch_s=time.perf_counter() - begun)
    Path(settings["position"]).write_bytes(position)
    loader.close()


def profile(settings: dict[str, Any], report: Report) -> None:
    """Where the time goes, by function: until the first batch, and in the batches after it."""
    first, steady = cProfile.Profile(), cProfile.Profile()
    with first:
        loader, _ = open_loader(settings)
        next(loader)
    with steady:
        throughput(loader, settings["seconds"], 0)
    report(first_batch=_costs(first), steady=_costs(steady))
    loader.close()


def _costs(profiler: cProfile.Profile) -> list[dict[str, Any]]:
    """The functions with the largest time of their own, and what they took with all that they called."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    costs = [
        {
            "function": f"{_short(file)}{name}",
            "calls": calls,
            "own_s": round(own, 4),
            "own_share": round(own / total, 4),
            "with_callees_share": round(whole / total, 4),
        }
        for (file, _, name), (_, calls, own, whole, _) in stats.items()
    ]
    return sorted(costs, key=lambda cost: -float(str(cost["own_s"])))[:20]


def _short(file: str) -> str:
    """``…/flan_jax/feed/store.py`` → ``flan_jax/feed/store.py:``; nothing for functions written in C."""
    if file.startswith(("~", "<")):
        return ""
    parts = Path(file).parts
    root = max(
        (index for index, part in enumerate(parts) if part in ("flan_jax", "tools", "site-packages")), default=-3
    )
    return "/".join(parts[root + (parts[root] == "site-packages") :]) + ":"


def digest(batch: dict[str, Any]) -> str:
    """Of the tokens of both sides."""
    state = hashlib.blake2b(digest_size=8)
    for key in ("encoder_input_tokens", "decoder_target_tokens"):
        state.update(batch[key].tobytes())
    return state.hexdigest()


if __name__ == "__main__":
    measured(main)
