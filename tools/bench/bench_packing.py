"""Measures how many rows the stream of batches takes, against packing all of its examples at once.

    python tools/bench/bench_packing.py --json docs/benchmarks/packing.json

The loader packs what it draws, pool by pool, and can find any step without going there; both cost rows. Here it hands
out batches until each task was gone through three times and a million examples were drawn. Every row counts, empty ones
too. The examples are read back from the batches, and exactly these are then packed offline, all at once, by best-fit
decreasing: from the largest to the smallest, each into the row that has the least room left on the side that is scarcer
and still takes both sides. Two orders of "largest" are tried and the better one counts. Best fit in random order is
reported beside it: where both sides are scarce, sorting puts together what had better be apart.

``superni`` (its training tasks, with the definition and two worked examples) and ``gsm8k`` are read from the folder that
FLAN_JAX_REALDATA names, and left out where it is not set; ``mini`` ships with the package.
"""

import argparse
import datetime
import heapq
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _bench_corpus import VOCABULARY_FILE
from _bench_machine import machine, versions

import mixtures  # noqa: F401  (registers them)
from flan_jax.data.collections.superni import superni_mixture
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.loader import PackedBatches
from flan_jax.mixing.mixture import Mixture, get_mixture
from flan_jax.store.arrow import StoredExample
from flan_jax.store.store import StoredTask, TokenStore

LENGTHS = ("512/128", "2048/512")
DATA_VARIABLE = "FLAN_JAX_REALDATA"
TARGET_RATIO = 1.03

Prepared = tuple[list[StoredTask], list[float]]


def main() -> None:
    options = _options()
    results = []
    for data in options.data:
        for lengths in options.lengths:
            inputs, targets = (int(part) for part in lengths.split("/"))
            limits = {"inputs": inputs, "targets": targets}
            with tempfile.TemporaryDirectory(prefix="bench_packing_") as folder:
                os.environ["FLAN_JAX_CACHE"] = str(Path(folder) / "flan_jax")
                tasks, weights = DATA[data](TokenStore(Path(folder) / "store"), limits)
                found = compare(tasks, weights, limits, options)
            results.append({"data": data, **limits, "tasks": len(tasks), **found})
            shown = ("rows_per_example", "offline_rows_per_example", "ratio")
            print(data, lengths, *(f"{key} {found[key]:.5f}" for key in shown), file=sys.stderr, flush=True)
    result = {
        "results": results,
        "target_ratio": TARGET_RATIO,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions("flan-jax", "numpy", "sentencepiece"),
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _options() -> argparse.Namespace:
    there = bool(os.environ.get(DATA_VARIABLE))
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python tools/bench/bench_packing.py --data mini --draws 100000",
    )
    parser.add_argument("--json", type=Path, help="file for the result; standard output otherwise")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA) if there else ["mini"])
    parser.add_argument("--lengths", nargs="+", default=LENGTHS, help="inputs/targets in tokens")
    parser.add_argument("--draws", type=int, default=1_000_000, help="examples at least (default 1,000,000)")
    parser.add_argument("--epochs", type=float, default=3, help="of every task at least (default 3)")
    parser.add_argument("--batch_size", type=int, default=256, help="rows in a batch (default 256)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not there and set(options.data) - {"mini"}:
        parser.error(f"set {DATA_VARIABLE} to the folder that holds superni, gsm8k and tokenizers")
    return options


def _superni(store: TokenStore, limits: dict[str, int]) -> Prepared:
    return _mixture(superni_mixture(folder=_data() / "superni"), _vocabulary(), store, limits)


def _mini(store: TokenStore, limits: dict[str, int]) -> Prepared:
    mixture = get_mixture("mini")
    return _mixture(mixture, load_vocabulary(mixture.vocabulary), store, limits)


def _gsm8k(store: TokenStore, limits: dict[str, int]) -> Prepared:
    vocabulary = _vocabulary()

    def examples() -> Iterator[StoredExample]:
        with (_data() / "gsm8k" / "train.jsonl").open(encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        sides = [
            [[*ids[: limit - 1], vocabulary.eos_id] for ids in vocabulary.encode_batch([one[field] for one in records])]
            for field, limit in (("question", limits["inputs"]), ("answer", limits["targets"]))
        ]
        for inputs, targets in zip(*sides, strict=True):
            yield StoredExample(inputs=np.array(inputs), targets=np.array(targets))

    return [store.write("gsm8k", "train", "0" * 32, examples(), {"vocabulary_size": vocabulary.size})], [1.0]


DATA: dict[str, Callable[[TokenStore, dict[str, int]], Prepared]] = {
    "superni": _superni,
    "gsm8k": _gsm8k,
    "mini": _mini,
}


def _data() -> Path:
    return Path(os.environ[DATA_VARIABLE])


def _vocabulary() -> SentencePieceVocabulary:
    return SentencePieceVocabulary(_data() / VOCABULARY_FILE)


def _mixture(mixture: Mixture, vocabulary: Any, store: TokenStore, limits: dict[str, int]) -> Prepared:
    """The training tasks of a mixture, and its own shares of draws."""
    names = [task.name for task in mixture.train_tasks]
    prepare(
        [(task, ["train"]) for task in mixture.train_tasks],
        PrepareConfig(vocabulary, TokenizeConfig(limits)),
        store=store,
    )
    tasks = [store.open(name, "train") for name in names]
    weights = mixture.weights({task.name: len(task) for task in tasks})
    return tasks, [weights[name] for name in names]


def compare(
    tasks: list[StoredTask], weights: list[float], limits: dict[str, int], options: argparse.Namespace
) -> dict[str, Any]:
    """Rows of the stream and rows offline over the same examples."""
    batches = PackedBatches(
        tasks, weights, FeedConfig(batch_size=options.batch_size), seed=options.seed, lengths=limits
    )
    lengths: list[np.ndarray] = []
    rows = empty = drawn = 0
    # What was drawn is asked for once in sixteen batches: adding it up takes as long as a batch.
    while drawn < options.draws or batches.sampling_stats().epochs.min() < options.epochs:
        for _ in range(16):
            batch = next(batches)
            lengths.append(lengths_in(batch))
            rows += options.batch_size
            empty += int((batch["encoder_segment_ids"].max(axis=1) == 0).sum())
            drawn += len(lengths[-1])
    counted = int(batches.sampling_stats().examples.sum())
    batches.close()
    if counted != drawn:
        raise RuntimeError(f"the batches hold {drawn} examples, but {counted} were counted")
    every = np.concatenate(lengths)
    sizes = (limits["inputs"], limits["targets"])
    offline = offline_rows(every, sizes)
    shuffled = np.random.default_rng(options.seed).permutation(every)
    tokens = every.sum(axis=0)
    cells = np.array(sizes)
    return {
        "examples": sum(len(task) for task in tasks),
        "draws": drawn,
        "rows": rows,
        "empty_rows": empty,
        "rows_per_example": rows / drawn,
        "offline_rows": offline,
        "offline_rows_per_example": offline / drawn,
        "offline_unsorted_rows": best_fit(shuffled, sizes, scarce_side(every, sizes)),
        "least_conceivable_rows": int(np.ceil((tokens / cells).max())),
        "ratio": rows / offline,
        "padding": _padding(tokens, cells * rows),
        "offline_padding": _padding(tokens, cells * offline),
    }


def _padding(tokens: np.ndarray, cells: np.ndarray) -> dict[str, float]:
    encoder, decoder = (1 - tokens / cells).tolist()
    return {"encoder": encoder, "decoder": decoder, "both": float(1 - tokens.sum() / cells.sum())}


def lengths_in(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """[n, 2] the input and target length of every example in a batch, told by its segments."""
    segments = [batch[f"{side}_segment_ids"] for side in ("encoder", "decoder")]
    most = max(int(side.max()) for side in segments) + 1
    row = np.arange(len(segments[0]))[:, None] * most
    counts = np.stack([np.bincount((side + row).reshape(-1), minlength=len(side) * most) for side in segments], axis=1)
    present = counts.any(axis=1)
    present[::most] = False  # segment 0 of every row is padding
    return counts[present]


def offline_rows(lengths: np.ndarray, limits: tuple[int, int]) -> int:
    """The fewest rows that best-fit decreasing finds for all examples at once.

    Args:
        lengths: [n, 2] of inputs and targets.
        limits: of a row.
    """
    shares, scarce = lengths / np.array(limits), scarce_side(lengths, limits)
    by_larger_share = np.argsort(-shares.max(axis=1), kind="stable")
    by_scarce_side = np.lexsort((-lengths[:, 1 - scarce], -lengths[:, scarce]))
    return min(best_fit(lengths[order], limits, scarce) for order in (by_larger_share, by_scarce_side))


def scarce_side(lengths: np.ndarray, limits: tuple[int, int]) -> int:
    """0 or 1: inputs or targets, whichever needs more rows."""
    return int((lengths.sum(axis=0) / np.array(limits)).argmax())


def best_fit(lengths: np.ndarray, limits: tuple[int, int], scarce: int) -> int:
    """Rows needed when each example, in the order given, goes into the fitting row with the least scarce room.

    Of rows with equally much scarce room, the one with the most of the other is taken.
    """
    # others[r]: of the rows that have scarce room r, the room on the other side, negated, as a heap.
    others: list[list[int]] = [[] for _ in range(limits[scarce] + 1)]
    most_other = np.full(limits[scarce] + 1, -1)  # the roomiest of each; −1 where there is none
    rows = 0
    for need, need_other in zip(lengths[:, scarce].tolist(), lengths[:, 1 - scarce].tolist(), strict=True):
        fits = most_other[need:] >= need_other
        first = int(fits.argmax())
        if fits[first]:
            room = need + first
            other = -heapq.heappop(others[room])
            most_other[room] = -others[room][0] if others[room] else -1
        else:
            rows, room, other = rows + 1, limits[scarce], limits[1 - scarce]
        room, other = room - need, other - need_other
        heapq.heappush(others[room], -other)
        most_other[room] = -others[room][0]
    return rows


if __name__ == "__main__":
    main()
