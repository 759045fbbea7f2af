"""A plan as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.plan.targets import GIB, GPU_DEFAULT_SHARE

_PROGRAMS = {
    "train": "training step",
    "read": "evaluation: reading prompts",
    "score": "evaluation: scoring targets",
    "decode": "evaluation: writing texts",
}


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Returns a plan as lines of text, sections apart by empty ones."""
    lines = _heading(plan)
    lines += ["", *_memory(plan)]
    for name, program in plan["programs"].items():
        lines += ["", *_program(name, program, plan)]
    if plan["replicated"]:
        lines += ["", f"Whole on every device, of 1 MiB and more ({len(plan['replicated'])}):"]
        lines += [f"  {size_of(size):>10}  {path}" for path, size in plan["replicated"].items()]
    if "run" in plan:
        lines += ["", *_run(plan["run"], plan)]
    return [*lines, "", verdict(plan)]


def _heading(plan: Mapping[str, Any]) -> list[str]:
    mesh = ", ".join(f"{axis}={size}" for axis, size in plan["mesh"].items())
    slices = f" in {plan['slices']} slices" if plan["slices"] > 1 else ""
    batch, (inputs, targets) = plan["batch"], plan["batch"]["lengths"]
    row = f"{inputs}+{targets}" if inputs else str(targets)
    parts = f" in {batch['microbatches']} parts" if batch["microbatches"] > 1 else ""
    lines = [
        f"{plan['devices']} × {plan['target']}{slices}, mesh {mesh}; compiled by {plan['compiler']}",
        f"{plan['model']['parameters']:,} parameters, {plan['model']['dtype']}, remat {plan['model']['remat']!r}; "
        f"batch of {batch['rows']:,} rows of {row} tokens{parts}",
    ]
    lines += [f"The mesh was chosen: {plan['mesh_reason']}"] if plan["mesh_reason"] else []
    return [*lines, plan["simulated"]] if plan["simulated"] else lines


def _memory(plan: Mapping[str, Any]) -> list[str]:
    state = plan["state"]
    rows = [
        ("parameters", state["parameters"]),
        ("frozen parameters", state["frozen"]),
        ("optimizer", state["optimizer"]),
        ("average of the weights", state["average"]),
    ]
    train = plan["programs"].get("train", {}).get("memory")
    if train:
        rows.append(("activations, gradients, temporaries", train["temporaries"]))
        rows.append(("batch and the rest", train["peak"] - train["temporaries"] - sum(size for _, size in rows[:4])))
    rows += [("peak of all programs", plan["peak"]), ("capacity", plan["capacity"])]
    host = plan["host"]
    return [
        "Bytes of a device",
        *(f"  {name:<36}{size_of(size):>12}" for name, size in rows if size),
        f"Each of {host['hosts']} hosts of {size_of(host['memory'])} holds {size_of(host['batch'])} of a batch, and "
        f"{size_of(host['checkpoint_a_host'])} of a checkpoint of {size_of(host['checkpoint'])} while it is written",
    ]


def _program(name: str, program: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    took = f"traced in {program['trace_seconds']:.1f} s, compiled in {program['compile_seconds']:.1f} s"
    title = f"{_PROGRAMS[name][0].upper()}{_PROGRAMS[name][1:]} ({took})"
    if "memory" not in program:
        return [title, f"  does not fit: the compiler needs {size_of(program['used'])} of {size_of(program['limit'])}"]
    seconds, formula = program["seconds"], program.get("formula_operations")
    beside = f", with {size_of(program['beside'])} of the optimizer's state beside it" if program["beside"] else ""
    lines = [
        title,
        f"  peak {size_of(program['peak'])}{beside}; {size_of(program['memory']['temporaries'])} of it temporaries",
        f"  operations: {f'{formula:.3g} by formula, ' if formula else ''}{program['operations']:.3g} traced, "
        f"{program['compiled_operations'] * plan['devices']:.3g} compiled, of all devices; "
        f"{size_of(program['traffic'])} through a device's memory",
        f"  roofline: cores {seconds_of(seconds['cores'])}, memory {seconds_of(seconds['memory'])}, links "
        f"{seconds_of(seconds['links'])}, network {seconds_of(seconds['network'])}: at least "
        f"{seconds_of(seconds['bound'])} ({seconds['limited_by']}), {seconds_of(seconds['apart'])} with nothing hidden"
        + (f"; MFU at most {program['mfu_bound']:.0%}" if "mfu_bound" in program else ""),
    ]
    return lines + collective_lines(program["collectives"])


def collective_lines(collectives: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the collectives of a program as a table, one kind along the same axes a line."""
    if not collectives:
        return ["  no collectives"]
    header = f"  {'collective':<20}{'axes':<20}{'in the text':>12}{'a run':>8}{'bytes':>12}{'sent':>12}"
    return [
        header,
        *(
            f"  {each['kind']:<20}{each['axes']:<20}{each['instructions']:>12}{each['runs']:>8}"
            f"{size_of(each['bytes']):>12}{size_of(each['wire_bytes']):>12}"
            for each in collectives
        ),
    ]


def _run(run: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    low, high = run["seconds"]
    fast, slow = run["tokens_per_second"]
    return [
        f"The run: {run['steps']:,} steps, {run['tokens']:,} tokens ({size_of(run['bytes_read'])} of ids), at "
        f"{slow:,.0f} to {fast:,.0f} tokens/s",
        f"  {hours_of(low)} to {hours_of(high)}, without evaluation and stops: {run['dollars'][0]:,.2f} to "
        f"{run['dollars'][1]:,.2f} US dollars at {run['price']:.2f} a device and hour ({run['priced']})",
    ]


def verdict(plan: Mapping[str, Any]) -> str:
    """Returns the sentence that says whether a run fits, with the changes that make it fit where some were looked for."""
    if plan["fits"]:
        words = f"It fits: {size_of(plan['peak'])} of {size_of(plan['capacity'])}."
        if "memory_fraction" in plan:
            words += (
                f" JAX takes {GPU_DEFAULT_SHARE:.0%} of a GPU's memory, which is less: set "
                f"XLA_PYTHON_CLIENT_MEM_FRACTION={plan['memory_fraction']}."
            )
        return words
    words = f"It does not fit: {size_of(plan['peak'])} of {size_of(plan['capacity'])}."
    if "changes" not in plan:
        return words
    if not plan["changes"]:
        return f"{words} None of the {plan['tried']} nearest changes makes it fit."
    rows = [
        f"  {each['change']:<60}{size_of(each['peak']):>12}{seconds_of(each['seconds']):>12} a step"
        for each in plan["changes"]
    ]
    return "\n".join([f"{words} The nearest changes that make it fit:", *rows])


def search_lines(found: Mapping[str, Any]) -> list[str]:
    """Returns the rows of a search, those of the frontier marked."""
    rows = [
        f"{'*' if row['frontier'] else ' '} {row['change']:<96}{size_of(row['peak']):>12}  "
        + (f"{row['seconds_per_token'] * 1e6:>8.3f} µs a token" if row["seconds_per_token"] else "       –")
        + ("" if row["fits"] else "  does not fit")
        for row in found["rows"]
    ]
    left = f"; {found['left']} more were not tried (--tries)" if found["left"] else ""
    return [f"Searched {found['tried']} ways{left}. * none that fits is better in both bytes and time", *rows]


def size_of(size: float) -> str:
    """Returns bytes in a unit that suits.

    >>> size_of(1536)
    '1.5 KiB'
    """
    for unit, name in ((2**40, "TiB"), (GIB, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(size) >= unit:
            return f"{size / unit:.2f} {name}" if unit > 2**20 else f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"


def seconds_of(seconds: float | None) -> str:
    """Returns a time in s, ms or µs; `–` for none."""
    if seconds is None:
        return "–"
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e6:.3g} µs"


def hours_of(seconds: float) -> str:
    """Returns a long time in days, hours or minutes."""
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} seconds"
