"""What ``bench_data.py`` measures of flan_jax, each mode in a process of its own."""

import cProfile
import hashlib
import json
import pstats
import time
from pathlib import Path
from typing import Any

from _bench_process import Report, measured, memory_mb, peak_mb, throughput


def main(mode: str, settings: dict[str, Any], report: Report) -> None:
    begun = time.perf_counter()
    import flan_jax.feed.loader
    import flan_jax.store.store  # noqa: F401

    report(import_s=time.perf_counter() - begun, import_peak_mb=peak_mb())
    {"feed": feed, "restore": restore, "seek": seek, "profile": profile, "soak": soak}[mode](settings, report)


def open_loader(settings: dict[str, Any]) -> Any:
    """The loader over all tasks of the store, drawn by their sizes."""
    from flan_jax.feed.config import FeedConfig
    from flan_jax.feed.loader import PackedBatches
    from flan_jax.store.store import TokenStore

    prepared = zip(settings["names"], settings["fingerprints"], strict=True)
    tasks = TokenStore(settings["store"]).open_many((name, settings["split"], which, None) for name, which in prepared)
    loader = PackedBatches(
        tasks,
        [len(task) for task in tasks],
        FeedConfig(settings["batch_size"], data_workers=settings["parallel"].get("workers", 0)),
        seed=settings["seed"],
        lengths=settings["lengths"],
        prefetch=settings["parallel"].get("prefetch", 2),
    )
    return loader


def feed(settings: dict[str, Any], report: Report) -> None:
    """First batch, throughput, and a saved position with the digest of the batch after it."""
    begun = time.perf_counter()
    loader = open_loader(settings)
    opened = time.perf_counter()
    next(loader)
    report(open_s=opened - begun, first_batch_s=time.perf_counter() - begun, first_batch_peak_mb=peak_mb())
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
    loader = open_loader(settings)
    loader.set_state(json.loads(Path(settings["position"]).read_bytes()))
    batch = next(loader)
    report(restore_s=time.perf_counter() - begun, next_batch=digest(batch))
    loader.close()


def seek(settings: dict[str, Any], report: Report) -> None:
    """The batch of a step far away, in a loader that is there, and the position before it."""
    loader = open_loader(settings)
    begun = time.perf_counter()
    loader.seek(settings["step"])
    position = json.dumps(loader.get_state()).encode()
    batch = next(loader)
    report(seek_s=time.perf_counter() - begun, next_batch=digest(batch))
    Path(settings["position"]).write_bytes(position)
    loader.close()


def profile(settings: dict[str, Any], report: Report) -> None:
    """Where the time goes, by function: until the first batch, and in the batches after it."""
    first, steady = cProfile.Profile(), cProfile.Profile()
    with first:
        loader = open_loader(settings)
        next(loader)
    with steady:
        throughput(loader, settings["seconds"], 0)
    report(first_batch=_costs(first), steady=_costs(steady))
    loader.close()


def soak(settings: dict[str, Any], report: Report) -> None:
    """Batches as fast as they come, and memory every so often: mapped files and all else apart."""
    loader = open_loader(settings)
    begun = time.perf_counter()
    samples: list[dict[str, float]] = []
    while (passed := time.perf_counter() - begun) < settings["soak"]:
        if passed >= len(samples) * settings["soak"] / 20:
            samples.append({"s": passed, "tokens": int(loader.sampling_stats().tokens.sum()), **memory_mb()})
        next(loader)
    samples.append({"s": passed, "tokens": int(loader.sampling_stats().tokens.sum()), **memory_mb()})
    report(samples=samples, step=loader.step)
    loader.close()


def _costs(profiler: cProfile.Profile) -> dict[str, list[dict[str, Any]]]:
    """``own``: the functions with the largest time of their own; ``whole``: our functions with what they call."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    costs: dict[str, list[dict[str, Any]]] = {"own": [], "whole": []}
    for (file, line, name), (_, calls, own, whole, _) in stats.items():
        function = f"{_short(file)}:{line} {name}" if line else name
        costs["own"].append({"function": function, "calls": calls, "seconds": own, "share": own / total})
        if function.startswith("flan_jax/"):
            costs["whole"].append({"function": function, "calls": calls, "seconds": whole, "share": whole / total})
    return {kind: sorted(several, key=lambda cost: -float(cost["seconds"]))[:12] for kind, several in costs.items()}


def _short(file: str) -> str:
    """``…/flan_jax/feed/store.py`` → ``flan_jax/store/store.py``; of other code, the last two parts."""
    parts = Path(file).parts
    own = [index for index, part in enumerate(parts) if part in ("flan_jax", "tools")]
    return "/".join(parts[own[-1] if own else -2 :])


def digest(batch: dict[str, Any]) -> str:
    """Of the tokens of both sides."""
    state = hashlib.blake2b(digest_size=8)
    for key in ("encoder_input_tokens", "decoder_target_tokens"):
        state.update(batch[key].tobytes())
    return state.hexdigest()


if __name__ == "__main__":
    measured(main)
