"""Runs of one shape trained together against one after another: time, compilation, memory, feeding, and a study's overhead.

    python tools/bench/studies/bench_study.py --json docs/benchmarks/study.json

One after another, a run's step is compiled once and called for each run. Together, one call steps all of them. Both
train the same model on the same batches, which lie on the device before the clock starts; making them is measured apart.
What a study costs beside the training of its groups is measured with whole runs, evaluation included. Losses by task and
updates of weights are measured by bench_weighting.py, fits by studies/bench_fits.py.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan_jax.feed.config import FeedConfig
from flan_jax.feed.layout import RowLayout
from flan_jax.feed.loader import PackedBatches
from flan_jax.models.build import ModelConfig, num_params
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.runs_axis import own_sharding, padded_rows, runs_mesh
from flan_jax.models.t5.config import T5Config
from flan_jax.store.store import StoredExample, TokenStore
from flan_jax.studies.groups.batches import GroupBatches
from flan_jax.train.grouped_state import abstract_group_state, init_group_state
from flan_jax.train.grouped_step import compile_group_step
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import abstract_sharded_state, init_state, shardings_of, trained_axes
from flan_jax.train.step import compile_train_step

sys.path.append(str(Path(__file__).parents[1]))
import _bench_corpus as corpus
from _bench_machine import machine, versions
from _bench_rounds import log
from _bench_study_overhead import overhead

VOCABULARY = 2048
MODELS: dict[str, ModelConfig] = {
    "t5": T5Config(
        vocab_size=VOCABULARY, d_model=128, d_kv=32, num_heads=4, d_ff=256, num_encoder_layers=2, num_decoder_layers=2,
        dropout_rate=0.1,
    ),
    "decoder": DecoderConfig(
        vocab_size=VOCABULARY, d_model=128, num_layers=4, num_heads=4, num_kv_heads=4, d_head=32, d_ff=384,
        dropout_rate=0.1,
    ),
}  # fmt: skip
RULE = OptimizerConfig(name="adamw", learning_rate=1e-3, warmup_steps=10, weight_decay=0.1, clip_norm=1.0)
TASKS = 16
ALL = TuningConfig()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=5, help="by turns, after one that is not counted")
    parser.add_argument(
        "--run_steps", type=int, default=128, help="steps of single runs in a turn, or as many together"
    )
    parser.add_argument("--batch_size", type=int, default=8, help="rows of a run's batch")
    parser.add_argument("--inputs", type=int, default=96)
    parser.add_argument("--targets", type=int, default=32)
    parser.add_argument("--study_runs", type=int, default=8, help="of the study whose overhead is measured; 0: none")
    parser.add_argument("--study_group", type=int, default=4, help="of these so many train together")
    parser.add_argument("--study_steps", type=int, default=100)
    parser.add_argument("--study_rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand parameters, to try the command")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    models = {name: _tiny(model) if options.tiny else model for name, model in MODELS.items()}
    found = {name: _measure(models[name], options) for name in options.models}
    result = {
        "models": found,
        "feeding": _feeding(options),
        "study": _study(models[options.models[-1]], options) if options.study_runs else None,
        "options": {name: value for name, value in vars(options).items() if name != "json"},
        "devices": [jax.devices()[0].device_kind, len(jax.devices())],
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": versions("flan-jax", "jax", "jaxlib", "optax"),
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: own["together_over_alone"] for name, own in found.items()}, indent=1))


def _tiny(model: ModelConfig) -> ModelConfig:
    layers = ("num_layers", "num_encoder_layers", "num_decoder_layers")
    return dataclasses.replace(
        model, d_model=16, d_ff=16, **{name: 1 for name in layers if name in model.__dataclass_fields__}
    )


def _study(model: ModelConfig, options: argparse.Namespace) -> dict[str, Any]:
    return overhead(
        model,
        RULE,
        runs=options.study_runs,
        group=options.study_group,
        steps=options.study_steps,
        batch_size=options.batch_size,
        rounds=options.study_rounds,
    )


def _batch(model: ModelConfig, options: argparse.Namespace, seed: int) -> dict[str, np.ndarray]:
    """A packed batch, two examples a row."""
    rng, count = np.random.default_rng(seed), 2 * options.batch_size
    sides = [np.full(count, length // 2) for length in (options.inputs, options.targets)]
    tokens = [rng.integers(3, VOCABULARY, int(side.sum())).astype(np.int32) for side in sides]
    return RowLayout(options.inputs, options.targets, model.decoder_only).assemble(
        row=np.repeat(np.arange(options.batch_size), 2),
        task=np.arange(count) % TASKS,
        input_lengths=sides[0],
        target_lengths=sides[1],
        input_tokens=tokens[0],
        target_tokens=tokens[1],
        rows=options.batch_size,
    )


def _measure(model: ModelConfig, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and CPU seconds of as many steps of single runs, alone and in groups of each size."""
    optimizer = make_optimizer(RULE, trained_axes(model, ALL))
    systems: dict[str, Callable[[], None]] = {}
    compiled: dict[str, float] = {}
    bytes_of: dict[str, int] = {}
    systems["alone"], compiled["alone"], bytes_of["alone"] = _alone(model, optimizer, options)
    for runs in options.runs:
        name = str(runs)
        systems[name], compiled[name], bytes_of[name] = _together(model, optimizer, runs, options)
        log(f"{name} runs together: compiled in {compiled[name]:.1f} s, {bytes_of[name] / 2**20:.0f} MiB")
    wall: dict[str, list[float]] = {name: [] for name in systems}
    cpu: dict[str, list[float]] = {name: [] for name in systems}
    for index in range(options.rounds + 1):
        for name, call in systems.items():
            begun, used = time.perf_counter(), time.process_time()
            call()
            if index:
                wall[name].append(time.perf_counter() - begun)
                cpu[name].append(time.process_time() - used)
        log(f"round {index}: " + ", ".join(f"{name} {own[-1]:.3g} s" for name, own in wall.items() if own))
    examples = options.run_steps * options.batch_size * 2

    def ratios(found: dict[str, list[float]]) -> dict[str, float]:
        """Of each round the alone's seconds over a group's; their median."""
        return {
            name: statistics.median(one / other for one, other in zip(found["alone"], own, strict=True))
            for name, own in found.items()
        }

    sizes = [(int(name), size) for name, size in bytes_of.items() if name != "alone"]
    added = [(b - a) / (m - n) for (n, a), (m, b) in itertools.pairwise(sizes)]
    return {
        "parameters": num_params(model),
        "together_over_alone": ratios(wall),
        "together_over_alone_cpu": ratios(cpu),
        "examples_per_s": {name: examples / statistics.median(own) for name, own in wall.items()},
        "wall_s": wall,
        "cpu_s": cpu,
        "compile_s": compiled,
        "bytes": bytes_of,
        "bytes_each_run_adds": added,
    }


def _alone(model: ModelConfig, optimizer: Any, options: argparse.Namespace) -> tuple[Callable[[], None], float, int]:
    partitioner = make_partitioner(MeshConfig(), jax.local_devices()[:1])
    graphdef, abstract = abstract_sharded_state(model, optimizer, partitioner)
    step = compile_train_step(
        shardings_of(abstract), partitioner, graphdef=graphdef, optimizer=optimizer, schedule=learning_rate(RULE),
        num_tasks=TASKS,
    )  # fmt: skip
    batches = [partitioner.shard_batch(_batch(model, options, seed)) for seed in range(4)]
    seconds, size = _compiled(step, abstract, batches[0])
    state = init_state(model, optimizer, 0, partitioner)[1]

    def call() -> None:
        nonlocal state
        for index in range(options.run_steps):
            state, _ = step(state, batches[index % len(batches)])
        jax.block_until_ready(state.params)

    return call, seconds, size


def _together(
    model: ModelConfig, optimizer: Any, runs: int, options: argparse.Namespace
) -> tuple[Callable[[], None], float, int]:
    mesh = runs_mesh()
    rows = padded_rows(runs, mesh)
    graphdef, state = init_group_state(model, optimizer, range(runs), mesh)
    step = compile_group_step(
        mesh, graphdef=graphdef, optimizer=optimizer, schedule=learning_rate(RULE), num_tasks=TASKS
    )
    batches = []
    for index in range(2):
        parts = [_batch(model, options, seed) for seed in range(index, index + rows)]
        batches.append(
            jax.device_put({name: np.stack([part[name] for part in parts]) for name in parts[0]}, own_sharding(mesh))
        )
    seconds, size = _compiled(step, abstract_group_state(model, optimizer, rows, mesh, ALL), batches[0])

    def call() -> None:
        nonlocal state
        for index in range(max(1, options.run_steps // runs)):
            state, _ = step(state, batches[index % len(batches)])
        jax.block_until_ready(state.runs.params)

    return call, seconds, size


def _compiled(step: Any, state: Any, batch: Any) -> tuple[float, int]:
    """Seconds to compile a step, and the bytes that it takes on a device."""
    lowered = step.lower(state, batch)
    begun = time.perf_counter()
    sizes = lowered.compile().memory_analysis()
    seconds = time.perf_counter() - begun
    parts = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return seconds, int(parts - sizes.alias_size_in_bytes)


def _feeding(options: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds that making and stacking a run's batch takes, by the number of runs."""
    lengths = {"inputs": options.inputs, "targets": options.targets}
    drawn = corpus.draw(TASKS, examples_per_task=200, limits=lengths, seed=0)
    with tempfile.TemporaryDirectory(prefix="bench_study_") as folder:
        os.environ["FLAN_JAX_CACHE"] = str(Path(folder) / "cache")
        store, rng, stored = TokenStore(Path(folder) / "store"), np.random.default_rng(1), []
        for index, pairs in enumerate(zip(drawn.inputs, drawn.targets, strict=True)):
            examples = (
                StoredExample(*(rng.integers(3, VOCABULARY, length) for length in pair), example_id=number)
                for number, pair in enumerate(zip(*pairs, strict=True))
            )
            stored.append(
                store.write(f"task_{index}", "train", f"{index:032x}", examples, {"vocabulary_size": VOCABULARY})
            )
        found = {}
        for runs in options.runs:
            streams = [
                PackedBatches(
                    stored, [1.0] * TASKS, FeedConfig(batch_size=options.batch_size), seed=seed, lengths=lengths
                )
                for seed in range(runs)
            ]
            batches = GroupBatches(streams, runs, lambda: (), lambda run: None)
            next(batches)
            steps, begun, used = max(4, 256 // runs), time.perf_counter(), time.process_time()
            for _ in range(steps):
                next(batches)
            times = {"wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - used}
            found[str(runs)] = {name: value / steps / runs for name, value in times.items()}
            batches.close()
    return found


if __name__ == "__main__":
    main()
