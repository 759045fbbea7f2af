"""Whether many tasks cost more than few: the same examples, dealt to few tasks or to many, in one process by turns.

`bench_data.py` compares mixtures of different sizes, whose examples fit into the processor's cache or do not. Here
nothing differs but how many tasks the examples belong to.
"""

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import _bench_corpus as corpus
import numpy as np
from _bench_machine import machine, versions

from flan_jax.feed.config import FeedConfig
from flan_jax.feed.loader import PackedBatches
from flan_jax.store.store import StoredExample, TokenStore

LENGTHS = {"inputs": 512, "targets": 128}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[20, 200, 1836])
    parser.add_argument("--rounds", type=int, default=9, help="by turns, after one that is not counted")
    parser.add_argument("--batches", type=int, default=300, help="of 256 rows, in each round")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    drawn = corpus.draw(max(options.tasks), examples_per_task=100, limits=LENGTHS, seed=0)
    pairs = np.stack([np.concatenate(drawn.inputs), np.concatenate(drawn.targets)], axis=1)
    np.random.default_rng(0).shuffle(pairs)  # a task's own lengths are then those of all, however many tasks there are
    with tempfile.TemporaryDirectory(prefix="bench_task_count_") as folder:
        os.environ["FLAN_JAX_CACHE"] = str(Path(folder) / "cache")
        loaders = {count: _loader(TokenStore(Path(folder) / str(count)), pairs, count) for count in options.tasks}
        rates: dict[int, list[float]] = {count: [] for count in loaders}
        for turn in range(options.rounds + 1):
            for count, loader in loaders.items():
                rate = _tokens_per_cpu_s(loader, options.batches)
                if turn:
                    rates[count].append(rate)
    medians = {str(count): statistics.median(several) for count, several in rates.items()}
    result: dict[str, Any] = {
        "examples": len(pairs),
        "tokens": int(pairs.sum()),
        "tokens_per_cpu_s": medians,
        "rounds": {str(count): several for count, several in rates.items()},
        "slowest_to_fastest": min(medians.values()) / max(medians.values()),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions("flan-jax", "numpy", "pyarrow", "grain"),
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("tokens_per_cpu_s", "slowest_to_fastest")}, indent=1))


def _loader(store: TokenStore, pairs: np.ndarray, tasks: int) -> PackedBatches:
    rng = np.random.default_rng(1)
    stored = []
    for index, dealt in enumerate(np.array_split(pairs, tasks)):
        examples = (
            StoredExample(*(rng.integers(3, corpus.VOCABULARY_SIZE, length) for length in pair), example_id=number)
            for number, pair in enumerate(dealt.tolist())
        )
        manifest = {"vocabulary_size": corpus.VOCABULARY_SIZE}
        stored.append(store.write(f"task_{index:04d}", "train", f"{index:032x}", examples, manifest))
    sizes = [len(task) for task in stored]
    return PackedBatches(stored, sizes, FeedConfig(batch_size=256), seed=0, lengths=LENGTHS, prefetch=0)


def _tokens_per_cpu_s(loader: PackedBatches, batches: int) -> float:
    before, begun = loader.sampling_stats().tokens.sum(), time.process_time()
    for _ in range(batches):
        next(loader)
    passed = time.process_time() - begun
    return float(loader.sampling_stats().tokens.sum() - before) / passed


if __name__ == "__main__":
    main()
