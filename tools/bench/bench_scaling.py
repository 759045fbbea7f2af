"""Measures what grows with the devices, and what stands around a training step, beside the targets set for them.

    python tools/bench/bench_scaling.py --json docs/benchmarks/scaling.json [--parts compile overhead] [--tiny]

    compile     seconds to compile a step of 48 layers for 1 to 512 simulated CPU devices, and what its collectives move
    compile_tpu the same for TPU v5e where libtpu is installed (no TPU is needed)
    overhead    of the Python loop around a step: dispatch, hooks, metrics
    startup     from the command `flan-jax train` to the first step
    checkpoint  how long the loop waits at a save, beside a step
    resume      from the command to the first new step of a run that is continued
    memory      the peak that a plan predicts, beside the one that a process has

Every measurement is a process of its own. Parts that are not asked for stay in the file as they were measured, each with
its own date and machine. Seconds are of the clock; CPU seconds stand beside them, for machines that do other work too.
"""

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _bench_machine import machine, versions
from _bench_process import run
from _bench_rounds import log

from flan_jax.plan.packages import compiler_for
from flan_jax.plan.targets import target_named

sys.path.append(str(Path(__file__).parent / "scaling"))
import _scaling_commands as commands
import _scaling_compile as compiling

WORKER = "scaling/_scaling_worker.py"
TENSOR = 8
LIMITS = {
    "compile": ("tracing and compiling for the most devices", "s", 120.0),
    "compile_tpu": ("tracing and compiling for the most devices", "s", 120.0),
    "overhead": ("added to a step by the loop", "s", 1e-3),
    "checkpoint": ("the loop's wait at a save", "of a step", 0.05),
    "memory": ("the predicted peak is off by", "of the measured", 0.15),
}
"""Of a part: what its target is about, in which unit, and at most how much."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    result = _earlier(options.json)
    for name in options.parts:
        log(f"{name} ...")
        around = {"date": datetime.date.today().isoformat(), "machine": machine(), "tiny": options.tiny}
        result["parts"][name] = {**around, **PARTS[name](options), "load_after": machine()["load_before"]}
        result["targets"] = targets(result["parts"])
        result["versions"] = versions("flan-jax", "jax", "jaxlib", "optax", "orbax-checkpoint")
        result["xla_flags"] = os.environ.get("XLA_FLAGS", "")
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for each in result["targets"]:
        log(
            f"{each['part']}: {each['what']} {each['value']:.3g} {each['unit']}, at most {each['limit']:g}: {each['case']}"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file for the result; parts not asked for stay in it")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 8, 64, 256, 512], help="that are compiled for")
    parser.add_argument("--tpu_devices", type=int, nargs="+", default=[64, 256, 512], help="the same with libtpu")
    parser.add_argument(
        "--compile_timeout", type=float, default=1800.0, help="seconds for one compilation (default 1800)"
    )
    parser.add_argument("--steps", type=int, default=300, help="of a turn of the loop (default 300)")
    parser.add_argument("--rounds", type=int, default=15, help="of turns of the loop (default 15)")
    parser.add_argument("--saves", type=int, default=5, help="that are measured (default 5)")
    parser.add_argument("--starts", type=int, default=3, help="of each kind of start (default 3)")
    parser.add_argument("--tiny", action="store_true", help="models of some thousand parameters, to try the command")
    return parser.parse_args(arguments)


def _earlier(path: Path) -> dict[str, Any]:
    """What the file holds from before, or a result without parts."""
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {"what": __doc__.splitlines()[0], "parts": {}}


def _compile(options: argparse.Namespace) -> dict[str, Any]:
    return _compiled("cpu", options.devices, options)


def _compile_tpu(options: argparse.Namespace) -> dict[str, Any]:
    found = compiler_for(target_named(compiling.TARGET))
    if found.name != "tpu":
        return {"steps": [], "skipped": found.note}
    return {"version": found.version, **_compiled("tpu", options.tpu_devices, options)}


def _compiled(compiler: str, counts: Sequence[int], options: argparse.Namespace) -> dict[str, Any]:
    """Compiles for every number of devices: parameters split over all of them, and layers over some of them too."""
    model, rows = "tiny" if options.tiny else "qwen2_5_14b", []
    layers_over = 2 if options.tiny else TENSOR
    for devices in counts:
        for tensor in (1, layers_over) if devices > layers_over else (1,):
            case = {"compiler": compiler, "devices": devices, "tensor": tensor}
            try:
                found = run(WORKER, "compile", timeout=options.compile_timeout, model=model, **case)
            except RuntimeError as error:  # of one size; the others are worth having
                found = {"failed": str(error)[-1000:]}
            rows.append({**case, **found})
            log(
                f"{case}: {found.get('compile_s', float('nan')):.1f} s, {found.get('process_cpu_s', float('nan')):.1f} CPU s {found.get('failed', '')}"
            )
    return {"model": compiling.described(model), "steps": rows}


def _overhead(options: argparse.Namespace) -> dict[str, Any]:
    settings = {"model": "tiny_t5", "tasks": 45, "steps": options.steps, "rounds": options.rounds}
    return run(WORKER, "overhead", **settings, log_periods=[1, 10, 100])


def _checkpoint(options: argparse.Namespace) -> dict[str, Any]:
    cases = [("tiny_t5", "adamw", 2)] if options.tiny else [("t5_small", "adafactor", 8), ("t5_small", "adamw", 8)]
    saves = {"saves": options.saves, "period": 4}
    return {
        "cases": [
            run(WORKER, "checkpoint", model=model, optimizer=rule, rows=rows, **saves) for model, rule, rows in cases
        ]
    }


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    sizes = [("tiny_t5", 2), ("tiny_decoder", 2)] if options.tiny else [("t5_small", 8), ("decoder_100m", 1)]
    return {
        "cases": [run(WORKER, "memory", model=model, optimizer="adamw", rows=rows, steps=3) for model, rows in sizes]
    }


def _startup(options: argparse.Namespace) -> dict[str, Any]:
    return commands.startup(_start_settings(options))


def _resume(options: argparse.Namespace) -> dict[str, Any]:
    settings = _start_settings(options)
    large = {**settings, "model": "models/t5_small.gin", "bindings": ["--gin.OptimizerConfig.name='adamw'"]}
    return {"cases": [commands.resume(case) for case in ([settings] if options.tiny else [settings, large])]}


def _start_settings(options: argparse.Namespace) -> dict[str, Any]:
    layers = ("T5Config.num_encoder_layers=1", "T5Config.num_decoder_layers=1")
    little = [f"--gin.{binding}" for binding in ("KEEP=('world_facts',)", *layers)]
    return {
        "model": "models/t5_tiny.gin",
        "bindings": little if options.tiny else [],
        "mixture": "mini",
        "rows": 8,
        "rounds": options.starts,
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "compile": _compile,
    "compile_tpu": _compile_tpu,
    "overhead": _overhead,
    "startup": _startup,
    "checkpoint": _checkpoint,
    "resume": _resume,
    "memory": _memory,
}


def targets(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """Every measured value that has a target, with the target and whether it is met."""
    return [
        {"part": part, "what": LIMITS[part][0], "case": case, "value": value, "unit": LIMITS[part][1],
         "limit": LIMITS[part][2], "met": abs(value) <= LIMITS[part][2]}
        for part in LIMITS
        if part in parts
        for case, value in _CASES[part](parts[part])
    ]  # fmt: skip


def _compiled_cases(part: dict[str, Any]) -> list[tuple[str, float]]:
    timed = [row for row in part["steps"] if "compile_s" in row]
    most = max((row["devices"] for row in timed), default=0)
    return [
        (f"{row['devices']} devices, tensor={row['tensor']}", row["trace_s"] + row["compile_s"])
        for row in timed
        if row["devices"] == most
    ]


_CASES: dict[str, Callable[[dict[str, Any]], list[tuple[str, float]]]] = {
    "compile": _compiled_cases,
    "compile_tpu": _compiled_cases,
    "overhead": lambda part: [
        (f"a line every {'step' if period == '1' else f'{period} steps'}{of}", found[name]["median"])
        for of, name in (("", "added"), (", CPU time of the loop around no step", "host_cpu"))
        for period, found in part["log_periods"].items()
    ],
    "checkpoint": lambda part: [
        (f"{each['model']}, {each['optimizer']}", each["stall_share"]) for each in part["cases"]
    ],
    "memory": lambda part: [(f"{each['model']}, batch of {each['rows']}", each["error"]) for each in part["cases"]],
}


if __name__ == "__main__":
    main()
