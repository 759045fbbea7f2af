"""Plan a run for chips that are not here: bytes, operations, collectives, time and cost, and whether it fits.

The run's training step and its evaluation are compiled by the compiler of the chips where its package is installed
(extras plan-tpu and plan-gpu; no device is needed), or else for simulated CPU devices, and the plan says so. Nothing is
allocated, no data is read, and nothing is written.
"""

import argparse
import functools
from typing import Any

from flan_jax.cli.escapes import json_text, visible
from flan_jax.cli.gin_arguments import add_gin_arguments, load_gin
from flan_jax.errors import UserError, unknown

EXAMPLE = (
    "flan-jax plan --gin_file models/t5_xl.gin --gin_file runs/finetune.gin --gin.MIXTURE_OR_TASK_NAME=mini "
    "--gin.TASK_FEATURE_LENGTHS=\"{'inputs': 2048, 'targets': 512}\" --gin.TRAIN_STEPS=10000 --gin.MODEL_DIR=runs/xl "
    "--gin.MeshConfig.fsdp=-1 --gin.MeshConfig.data=1 --target H200 --devices 8"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_gin_arguments(parser)
    parser.add_argument(
        "--target", required=True, metavar="KIND", help="v4, v5e, v5p, v6e, A100-40, A100-80, H100, H200, B200"
    )
    parser.add_argument("--devices", type=int, required=True, metavar="N", help="of all slices together")
    parser.add_argument(
        "--slices", type=int, default=1, metavar="K", help="slices that the network alone joins (default 1)"
    )
    parser.add_argument("--programs", default="", metavar="NAMES", help="of train,read,score,decode; default: all")
    parser.add_argument(
        "--price", type=float, metavar="DOLLARS", help="of a device and hour; default: the table's list price"
    )
    parser.add_argument(
        "--search", action="store_true", help="compile other ways to lay the run out, and show the frontier"
    )
    parser.add_argument(
        "--tries", type=int, default=6, metavar="N",
        help="compilations for --search, or for changes that make a run fit that does not (default 6)",
    )  # fmt: skip
    parser.add_argument(
        "--simulate", action="store_true", help="simulated CPU devices even where the compiler is installed"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def execute(arguments: argparse.Namespace) -> int:
    """Prints the plan."""
    from flan_jax.cli.planning.run_job import run_job
    from flan_jax.plan.changes import check_batch, nearest_changes, search
    from flan_jax.plan.describe import plan_lines, search_lines
    from flan_jax.plan.packages import compiler_for
    from flan_jax.plan.plan import RunLength, make_plan
    from flan_jax.plan.targets import target_named
    from flan_jax.plan.topologies import check_count

    target = target_named(arguments.target)
    check_count(target, arguments.devices, arguments.slices)
    for name, value in (("tries", arguments.tries), ("price", arguments.price)):
        if value is not None and value < 0:
            raise UserError(f"--{name} {value:g} must be at least 0.")
    compiler = compiler_for(target, force_cpu=arguments.simulate)
    config = load_gin(arguments, addresses=True).config
    programs = _programs(arguments.programs)
    job = run_job(config, target, compiler, arguments.devices, arguments.slices, programs)
    check_batch(job)
    plans = functools.partial(make_plan, compiler=compiler, run=RunLength(config.steps, arguments.price))
    plan: dict[str, Any] = plans(job)
    if not plan["fits"] and arguments.tries and not arguments.search and "train" in job.programs:
        plan["changes"], plan["tried"] = nearest_changes(job, plans, tries=arguments.tries)
    if arguments.search:
        plan["search"] = search(job, plans, tries=arguments.tries)
    if arguments.json:
        print(json_text(plan, indent=1))
    else:
        lines = plan_lines(plan)
        lines += ["", *search_lines(plan["search"])] if arguments.search else []
        print(visible("\n".join(lines)))
    return 0


def _programs(names: str) -> tuple[Any, ...]:
    from flan_jax.plan.job import PROGRAMS

    chosen = [name for name in names.split(",") if name] or PROGRAMS
    for name in chosen:
        if name not in PROGRAMS:
            raise unknown("program", name, PROGRAMS)
    return tuple(name for name in PROGRAMS if name in chosen)
