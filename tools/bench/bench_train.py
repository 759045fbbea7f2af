"""Measures a training step, beside PyTorch with transformers and T5X's network, in turns in one process.

    python tools/bench/bench_train.py --model t5_small --peer torch --compile --steps 5 --json docs/benchmarks/train_t5_small.json

All systems have the same sizes, batch, loss, optimiser, dropout (``--set dropout_rate=0.1``; by default none) and types
(float32 parameters, products in ``--dtype``) and take their steps in turns, A B A B; a plain ``jnp.dot`` takes its turn too and shows what the device can do. A result
is the median of the rounds, with the least and the greatest.

    step_s               of one training step: forward, backward, update
    tokens_per_s         places of the batch, both sides
    useful_tokens_per_s  those that are no padding
    flops_per_s          the step's by ``flops.formula``
    mfu                  of the device's peak: of the data sheet on a GPU that is known, else of ``matmul_flops``
    matmul_share         of ``matmul_flops``, the rate of a square ``jnp.dot`` of the same type in the same rounds
    memory_bytes         ours: what the compiled step needs for its arguments and besides
    peak_memory_bytes    in use at most, on a GPU; with --peer t5x of both
    faster_than          by which factor our median step is shorter than each peer's
"""

import argparse
import ast
import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _bench_machine import machine, versions

# Two systems share a GPU's memory: neither takes all of it at the start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import optax
from _bench_flops import FORMULA, PEAK, step_flops
from _bench_presets import PRESETS, Preset, make_batch
from _bench_rounds import in_turns, log, matmul, summary

from flan_jax.errors import UserError
from flan_jax.models.build import logical_axes, num_params
from flan_jax.models.t5.config import T5Config
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import init_state, shardings_of, trained_axes
from flan_jax.train.step import compile_train_step

LEARNING_RATE = 1e-4
System = tuple[Callable[[], Any], Callable[[], None], dict[str, Any]]
"""A step, a wait for all steps to be done, and what else is known."""


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    preset = _preset(options)
    batch = make_batch(preset, padding=options.padding, seed=options.seed)
    device = jax.devices()[0]
    on_gpu = device.platform == "gpu"
    systems: dict[str, System] = {"flan_jax": _ours(preset, batch, options)}
    packages, skipped = ["flan-jax", "jax", "jaxlib", "flax", "optax"], {}
    for name, start in _peers(options, preset, batch, "cuda" if on_gpu else "cpu").items():
        try:
            systems[name] = start()
        except Exception as error:  # a peer that does not run here must not take our measurement with it
            skipped[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            log(f"{name} does not run: {skipped[name]}")
    packages += ["torch", "transformers"] if options.peer == "torch" else []
    for step, wait, _ in systems.values():
        for _ in range(options.warm_up):
            step()
        wait()
    product, product_flops = matmul(preset.model.dtype, options.matmul or (8192 if on_gpu else 2048))
    calls = {name: _several(step, wait, options.steps_per_round) for name, (step, wait, _) in systems.items()}
    seconds = in_turns({**calls, "jnp.dot": product}, options.steps)
    rate = summary([product_flops / taken for taken in seconds.pop("jnp.dot")])
    peak = next(
        (value for name, value in PEAK.items() if name in device.device_kind and preset.model.dtype == "bfloat16"), None
    )
    flops = step_flops(preset)
    result = {
        "model": options.model,
        "config": dataclasses.asdict(preset.model),
        "parameters": num_params(preset.model),
        "rows": preset.rows,
        "lengths": {"inputs": preset.inputs, "targets": preset.targets},
        "lora_rank": preset.lora_rank,
        "frozen_dtype": preset.frozen_dtype,
        "optimizer": options.optimizer,
        "dtype": preset.model.dtype,
        "padding": options.padding,
        "seed": options.seed,
        "malloc": {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "GLIBC_"))},
        "rounds": options.steps,
        "steps_per_round": options.steps_per_round,
        "date": datetime.date.today().isoformat(),
        "machine": machine() | {"device": device.device_kind},
        "versions": versions(*packages),
        "flops": {"step": flops, "formula": FORMULA},
        "matmul_flops": rate,
        "peak_flops": peak or rate["median"],
        "peak_source": "data sheet" if peak else "jnp.dot in this process",
        "skipped": skipped,
    }
    for name, (_, _, more) in systems.items():
        each = [taken / options.steps_per_round for taken in seconds[name]]
        result[name] = _speed(each, preset, batch, flops, rate["median"], result["peak_flops"]) | _now(more)
    own = result["flan_jax"]["step_s"]["median"]
    result["faster_than"] = {name: result[name]["step_s"]["median"] / own for name in systems if name != "flan_jax"}
    _write(result, options.json)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python tools/bench/bench_train.py --model t5_small --peer torch --steps 5",
    )
    parser.add_argument("--model", choices=sorted(PRESETS), required=True)
    parser.add_argument("--peer", choices=["torch", "t5x"], help="measure it too")
    parser.add_argument("--compile", action="store_true", help="with --peer torch: also under torch.compile")
    parser.add_argument("--t5x", type=Path, help="a checkout of T5X, for --peer t5x")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of products (default: the model's)")
    parser.add_argument("--optimizer", choices=["adamw", "adafactor"], default="adamw")
    parser.add_argument("--steps", type=int, default=5, help="rounds that are measured (default 5)")
    parser.add_argument("--steps_per_round", type=int, default=1, help="in a row, without waiting between them")
    parser.add_argument("--warm_up", type=int, default=2, help="steps before, which compile (default 2)")
    parser.add_argument("--rows", type=int, help="of the batch (default: the model's)")
    parser.add_argument("--padding", type=float, default=0.0, help="share of every row (default 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--matmul", type=int, help="side of the matrices of jnp.dot (default 2048; on a GPU 8192)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="of the model's configuration"
    )
    parser.add_argument("--json", type=Path, help="file for the result; standard output otherwise")
    options = parser.parse_args(arguments)
    if options.peer == "t5x" and options.t5x is None:
        parser.error("--peer t5x needs --t5x, a checkout of github.com/google-research/t5x")
    return options


def _preset(options: argparse.Namespace) -> Preset:
    preset = PRESETS[options.model]
    changes = dict(one.split("=", 1) for one in options.set)
    fields = {name: _value(text) for name, text in changes.items()}
    if options.dtype:
        fields["dtype"] = options.dtype
    preset = dataclasses.replace(preset, model=dataclasses.replace(preset.model, **fields))
    return dataclasses.replace(preset, rows=options.rows) if options.rows else preset


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _ours(preset: Preset, batch: Mapping[str, Any], options: argparse.Namespace) -> System:
    partitioner = make_partitioner(MeshConfig(), devices=jax.devices()[:1])
    config = OptimizerConfig(name=options.optimizer, learning_rate=LEARNING_RATE)
    axes = trained_axes(preset.model, preset.tuning) if preset.lora_rank else logical_axes(preset.model)
    rule = make_optimizer(config, axes)
    graphdef, state = init_state(preset.model, rule, options.seed, partitioner, tuning=preset.tuning)
    on_device = partitioner.shard_batch(batch)
    step = compile_train_step(
        shardings_of(state), partitioner, graphdef=graphdef, optimizer=rule, schedule=learning_rate(config), num_tasks=1,
        tuning=preset.tuning,
    )  # fmt: skip
    # Of a part of a model, the step is a function around the compiled one: its memory is what the device says.
    compiled: Any = step if state.frozen else step.lower(state, on_device).compile()  # type: ignore[attr-defined]
    memory = None if state.frozen else compiled.memory_analysis()
    more: dict[str, Any] = {
        "memory_bytes": memory and {"arguments": memory.argument_size_in_bytes, "besides": memory.temp_size_in_bytes},
        "peak_memory_bytes": lambda: (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    }
    held = {"state": state}

    def take() -> None:
        held["state"], metrics = compiled(held["state"], on_device)
        more["loss"] = metrics["loss"]

    return take, lambda: jax.block_until_ready(held["state"].step), more


def _peers(
    options: argparse.Namespace, preset: Preset, batch: Mapping[str, Any], device: str
) -> dict[str, Callable[[], System]]:
    """What starts each peer that was asked for."""

    def torch(compiled: bool) -> System:
        from peers import peer_torch as peer

        step = peer.make_step(
            preset.model, batch, optimizer=options.optimizer, learning_rate=LEARNING_RATE, seed=options.seed,
            device=device, compiled=compiled, lora_rank=preset.lora_rank,
            remat=getattr(preset.model, "remat", False) in (True, "full"),
        )  # fmt: skip
        more: dict[str, Any] = {"peak_memory_bytes": lambda: peer.peak_memory(device)}

        def take() -> None:
            more["loss"] = step()

        take()
        return take, lambda: peer.wait(device), more

    def t5x() -> System:
        from peers import peer_t5x as peer

        if not isinstance(preset.model, T5Config):
            raise UserError("T5X's network is an encoder-decoder.")
        # As make_optimizer's AdamW or Adafactor, without rules of its own for stacked layers.
        rule = (
            optax.adamw(LEARNING_RATE, weight_decay=0.0)
            if options.optimizer == "adamw"
            else optax.adafactor(LEARNING_RATE)
        )
        on_device = jax.device_put(dict(batch))
        state, step = peer.make_step(options.t5x, preset.model, rule, on_device, options.seed)
        held, more = {"state": state}, {}

        def take() -> None:
            held["state"], more["loss"] = step(held["state"], on_device)

        return take, lambda: jax.block_until_ready(more["loss"]), more

    if options.peer == "torch":
        return {"torch": lambda: torch(False)} | ({"torch_compile": lambda: torch(True)} if options.compile else {})
    return {"t5x": t5x} if options.peer == "t5x" else {}


def _several(step: Callable[[], Any], wait: Callable[[], None], count: int) -> Callable[[], None]:
    def call() -> None:
        for _ in range(count):
            step()
        wait()

    return call


def _speed(
    seconds: list[float], preset: Preset, batch: Mapping[str, Any], flops: float, matmul_flops: float, peak: float
) -> dict[str, Any]:
    times = summary(seconds)
    places = preset.rows * (preset.inputs + preset.targets)
    useful = sum(int((values > 0).sum()) for name, values in batch.items() if name.endswith("segment_ids"))
    median = times["median"]
    return {
        "step_s": times,
        "tokens_per_s": places / median,
        "useful_tokens_per_s": useful / median,
        "flops_per_s": flops / median,
        "mfu": flops / median / peak,
        "matmul_share": flops / median / matmul_flops,
    }


def _now(more: dict[str, Any]) -> dict[str, Any]:
    found = {name: value() if callable(value) else value for name, value in more.items()}
    return found | {"loss": float(found["loss"])}


def _write(result: dict[str, Any], path: Path | None) -> None:
    text = json.dumps(result, indent=1)
    if path is None:
        print(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    log(f"written to {path}")


if __name__ == "__main__":
    main()
