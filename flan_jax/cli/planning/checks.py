"""Plans that other commands ask for: of a run before it is launched, and of a study's runs before they run."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, get_args

from flan_jax.cli.planning.run_job import run_job
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.launch.accelerators import Chips
from flan_jax.plan.changes import check_batch
from flan_jax.plan.describe import hours_of, seconds_of, size_of
from flan_jax.plan.job import PlanJob
from flan_jax.plan.packages import compiler_for
from flan_jax.plan.plan import RunLength, make_plan
from flan_jax.plan.targets import target_named
from flan_jax.plan.topologies import check_count

PlanMode = Literal["auto", "simulate", "off"]
PLAN_MODES: tuple[PlanMode, ...] = get_args(PlanMode)
MOST_SHAPES = 8
"""Runs of a study that compile alike are planned once; of more shapes than these the others are counted."""


def launch_lines(config: RunConfig, chips: Chips, mode: PlanMode, *, dropped: str) -> list[str]:
    """Plans the training step of a run that is to be launched; returns what is to be said of it.

    Args:
        config: the run.
        chips: that the launch asks for.
        mode: ``auto`` plans where the chips' compiler is installed, ``simulate`` with CPU devices where not, ``off`` never.
        dropped: words that name how the plan is left out.

    Raises:
        UserError: it does not fit the chips, the mesh or the batch does not, or the chips are not sold so.
    """
    if mode == "off" or not chips.count:
        if chips.kind and mode != "off":
            target_named(chips.kind)
            raise UserError(f"chip is {chips.kind}, but the options ask for no devices. Ask for some, or leave it out.")
        return []
    if not chips.kind:
        return [
            f"The run is not planned, as the options do not say what kind its {chips.count} devices are: name it, such as --chip "
            f"H100, or say {dropped}."
        ]
    target = target_named(chips.kind)
    check_count(target, chips.count, chips.slices)
    compiler = compiler_for(target, force_cpu=mode == "simulate")
    if compiler.name == "cpu" and mode == "auto":
        extra = "plan-tpu" if target.platform == "tpu" else "plan-gpu"
        return [
            f"The run is not planned, as the compiler of {target.name} is not installed: `pip install 'flan-jax[{extra}]'` brings "
            "it, and --plan simulate plans with simulated CPU devices."
        ]
    try:
        job = run_job(config, target, compiler, chips.count, chips.slices)
    except UserError as error:
        return [f"The run is not planned: {error}"]
    check_batch(job)
    plan = make_plan(job, compiler, RunLength(config.steps))
    _check_fits(plan, dropped)
    return [summary(plan)]


def summary(plan: dict[str, Any]) -> str:
    """Says in a line whether a planned run fits, and what time and money it takes."""
    mesh = ", ".join(f"{axis}={size}" for axis, size in plan["mesh"].items())
    words = f"planned for {plan['devices']} × {plan['target']} ({mesh}; compiled by {plan['compiler']}): "
    words += "it fits" if plan["fits"] else "it may not fit"
    words += f", {size_of(plan['peak'])} of {size_of(plan['capacity'])} a device"
    if "run" in plan:
        run, seconds = plan["run"], plan["programs"]["train"]["seconds"]
        low, high = run["seconds"]
        words += (
            f"; a step takes {seconds_of(seconds['bound'])} to {seconds_of(seconds['apart'])}, {run['steps']:,} steps "
            f"{hours_of(low)} to {hours_of(high)} and {run['dollars'][0]:,.2f} to {run['dollars'][1]:,.2f} US dollars at "
            f"{run['price']:.2f} a device and hour ({run['priced']}), without evaluation and stops"
        )
    if plan["simulated"]:
        words += "; by simulated CPU devices, whose temporaries and collectives are not those of the chips"
    return words


def study_plan(
    configs: Iterable[RunConfig], target_name: str, devices: int, *, simulate: bool = False
) -> dict[str, Any]:
    """Plans the runs of a study, each on so many devices of its own; runs that compile alike are compiled once.

    Returns:
        ``shapes`` (each a ``plan`` and the number of its ``runs``), ``unplanned`` (runs of further shapes), and of those that
        are planned ``seconds`` and ``dollars`` (least and most), one run after the other.

    Raises:
        UserError: no such target, a run that cannot be planned, or one whose batch or mesh does not fit the devices.
    """
    target = target_named(target_name)
    check_count(target, devices, 1)
    compiler = compiler_for(target, force_cpu=simulate)
    shapes: dict[PlanJob, list[int]] = {}
    for config in configs:
        job = run_job(config, target, compiler, devices)
        shapes.setdefault(dataclasses.replace(job, num_tasks=1), []).append(config.steps)
    chosen = sorted(shapes, key=lambda job: -len(shapes[job]))[:MOST_SHAPES]
    for job in chosen:
        check_batch(job)
    found: dict[str, Any] = {"shapes": [], "seconds": [0.0, 0.0], "dollars": [0.0, 0.0]}
    for job in chosen:
        plan = make_plan(job, compiler, RunLength(sum(shapes[job])))
        found["shapes"].append({"runs": len(shapes[job]), "plan": plan})
        for name in ("seconds", "dollars"):
            more = plan["run"][name] if "run" in plan else (0.0, 0.0)
            found[name] = [had + each for had, each in zip(found[name], more, strict=True)]
    found["unplanned"] = sum(map(len, shapes.values())) - sum(shape["runs"] for shape in found["shapes"])
    return found


def study_lines(found: dict[str, Any]) -> list[str]:
    """Says the plan of a study's runs: a line a shape, what does not fit, and the sum."""
    lines = [f"{shape['runs']:,} runs {summary(shape['plan'])}" for shape in found["shapes"]]
    over = sum(shape["runs"] for shape in found["shapes"] if not shape["plan"]["fits"])
    if over:
        lines.append(f"{over:,} runs need more memory than a device has.")
    if found["unplanned"]:
        lines.append(
            f"{found['unplanned']:,} runs of further shapes are not planned: {MOST_SHAPES} shapes are compiled."
        )
    low, high = found["seconds"]
    cheap, dear = found["dollars"]
    return [
        *lines,
        f"One after the other: {hours_of(low)} to {hours_of(high)}, {cheap:,.2f} to {dear:,.2f} US dollars.",
        *dict.fromkeys(shape["plan"]["simulated"] for shape in found["shapes"] if shape["plan"]["simulated"]),
    ]


def _check_fits(plan: dict[str, Any], dropped: str) -> None:
    """Refuses a run that does not fit; of simulated devices the state alone is the chips' own figure."""
    state = sum(plan["state"][name] for name in ("parameters", "frozen", "optimizer", "average"))
    if (state if plan["simulated"] else plan["peak"]) > plan["capacity"]:
        raise UserError(
            f"The run does not fit {plan['devices']} × {plan['target']}: {size_of(max(plan['peak'], state))} of "
            f"{size_of(plan['capacity'])} a device. `flan-jax plan` with the same gin files looks for changes that make it fit; "
            f"{dropped} launches it all the same."
        )
