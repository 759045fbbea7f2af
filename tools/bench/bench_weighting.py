"""What learned weights cost: an update of each method, the change of the draws behind it, and losses by task in a step.

Times are CPU seconds of this process, medians over rounds by turns; the first round of each is not counted.
"""

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _bench_machine import machine, versions

from flan_jax.feed.config import FeedConfig
from flan_jax.feed.loader import PackedBatches
from flan_jax.mixing.online.aioli import Aioli
from flan_jax.mixing.online.doge import DoGE
from flan_jax.mixing.online.doremi import DoReMi
from flan_jax.mixing.online.method import WeightingMethod
from flan_jax.mixing.online.msft import MultiTaskSFT
from flan_jax.mixing.online.odm import OnlineDataMixing
from flan_jax.models.build import init_model, merge
from flan_jax.models.t5.config import T5Config
from flan_jax.store.store import StoredExample, TokenStore
from flan_jax.train.loss import model_loss

LENGTHS = {"inputs": 64, "targets": 32}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1836)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "tasks": options.tasks,
        "update_ms": {name: _update_ms(make, options.tasks, options.rounds) for name, make in methods().items()},
        "set_weights_ms": _set_weights_ms(options.tasks, options.rounds),
        "losses_by_task": _share_of_step(options.tasks, options.rounds),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions("flan-jax", "numpy", "jax"),
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("update_ms", "set_weights_ms", "losses_by_task")}, indent=1))


def methods() -> dict[str, Callable[[], WeightingMethod]]:
    """The methods by name, each variant one."""
    return {
        "odm_paper": lambda: OnlineDataMixing(variant="paper"),
        "odm_exp3": lambda: OnlineDataMixing(variant="exp3"),
        "odm_smoothed_mean": lambda: OnlineDataMixing(variant="smoothed_mean"),
        "doremi": lambda: DoReMi(reference="none"),
        "aioli_probe": lambda: Aioli(period=1),
        "doge": lambda: DoGE(),
        "msft": lambda: MultiTaskSFT(rollout=10**6),
    }


def _median_ms(work: Callable[[], Any], rounds: int, times: int = 1) -> float:
    found = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - begun) / times * 1e3)
    return statistics.median(found[1:])


def _update_ms(make: Callable[[], WeightingMethod], tasks: int, rounds: int) -> float:
    """One update with a loss of every task."""
    rng, method = np.random.default_rng(0), make()
    method.begin(rng.dirichlet(np.ones(tasks)))
    losses = rng.exponential(2.0, (tasks, tasks) if method.observes == "gradient_products" else tasks)
    return _median_ms(lambda: method.update(losses, 1000), rounds, times=100)


def _set_weights_ms(tasks: int, rounds: int) -> float:
    """The change of the draws: every task goes on where it stands, under other weights."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="bench_weighting_") as folder:
        os.environ["FLAN_JAX_CACHE"] = str(Path(folder) / "cache")
        store = TokenStore(Path(folder) / "store")
        stored = []
        for index in range(tasks):
            examples = (
                StoredExample(*(rng.integers(3, 90, length).astype(np.int32) for length in (20, 5)), example_id=number)
                for number in range(10)
            )
            stored.append(store.write(f"task_{index:04d}", "train", f"{index:032x}", examples, {}))
        batches = PackedBatches(stored, np.ones(tasks), FeedConfig(batch_size=256), seed=0, lengths=LENGTHS, prefetch=0)
        found = []
        for _ in range(rounds + 1):
            next(batches)
            weights = rng.dirichlet(np.ones(tasks))
            begun = time.process_time()
            batches.set_weights(weights)
            found.append((time.process_time() - begun) * 1e3)
        batches.close()
    return statistics.median(found[1:])


def _share_of_step(tasks: int, rounds: int) -> dict[str, float]:
    """What the sums of losses by task take, beside the loss and gradient of a small T5 on the same batch.

    On the devices: the two sums over tokens. On the host: adding up what was fetched, as a run does between updates.
    """
    rng, rows, length = np.random.default_rng(0), 16, LENGTHS["targets"]
    batch = {
        **_side("encoder", rng, rows, LENGTHS["inputs"]),
        **_side("decoder", rng, rows, length),
        "decoder_loss_weights": np.ones((rows, length), np.float32),
        "decoder_task_ids": rng.integers(0, tasks, (rows, length)).astype(np.int32),
    }
    config = T5Config(
        vocab_size=8192, d_model=256, d_kv=32, num_heads=8, d_ff=512, num_encoder_layers=4, num_decoder_layers=4
    )
    graphdef, params = init_model(config, jax.random.key(0))

    def objective(params: Any) -> Any:
        return model_loss(merge(graphdef, params), batch, num_tasks=tasks, dropout_key=None).objective

    step = jax.jit(jax.grad(objective))
    losses, slots = jax.numpy.asarray(rng.exponential(2.0, (2, rows * length))), batch["decoder_task_ids"].ravel()
    sums = jax.jit(lambda values: [jax.ops.segment_sum(each, slots, num_segments=tasks + 1) for each in values])
    fetched = [np.asarray(each[:tasks]) for each in sums(losses)]
    added = [np.zeros(tasks), np.zeros(tasks)]

    def add() -> None:
        loss, tokens = (each.astype(np.float64) for each in fetched)
        added[0], added[1] = added[0] + loss * tokens, added[1] + tokens

    step_ms = _median_ms(lambda: jax.block_until_ready(step(params)), rounds)
    sums_ms = _median_ms(lambda: jax.block_until_ready(sums(losses)), rounds, times=100)
    host_ms = _median_ms(add, rounds, times=100)
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "tokens": rows * (LENGTHS["inputs"] + length),
        "step_ms": step_ms,
        "sums_ms": sums_ms,
        "host_ms": host_ms,
        "share_of_step": (sums_ms + host_ms) / step_ms,
    }


def _side(side: str, rng: np.random.Generator, rows: int, length: int) -> dict[str, np.ndarray]:
    """One side of a batch of whole rows."""
    names = ("encoder_input_tokens",) if side == "encoder" else ("decoder_input_tokens", "decoder_target_tokens")
    tokens = {name: rng.integers(3, 8000, (rows, length)).astype(np.int32) for name in names}
    return tokens | {
        f"{side}_segment_ids": np.ones((rows, length), np.int32),
        f"{side}_positions": np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
    }


if __name__ == "__main__":
    main()
