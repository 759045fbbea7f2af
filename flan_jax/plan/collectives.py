"""The collectives of a compiled program: kind, mesh axes, how often a step runs them, bytes, and what of them passes a link."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.plan.hlo import HloProgram, Instruction, shape_bytes
from flan_jax.plan.replica_groups import axes_of, groups

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of one kind along the same mesh axes.

    Attributes:
        kind: as XLA names it.
        axes: mesh axes joined with `+`; `?` where the program does not say in a known form.
        instructions: in the text of the program.
        runs: in one step, loops counted.
        bytes: of one device in one step: what a gather gives, what a reduction takes.
        wire_bytes: of them what one device sends, by the algorithm of a ring.
        group: devices that take part together.
    """

    kind: str
    axes: str
    instructions: int
    runs: int
    bytes: int
    wire_bytes: int
    group: int

    def as_json(self) -> dict[str, Any]:
        """Returns the fields."""
        return dataclasses.asdict(self)


def collectives(program: HloProgram, mesh: Mapping[str, int]) -> list[Collective]:
    """Finds the collectives of a program that move something, the largest first.

    Args:
        program: the compiled one.
        mesh: axis → size, in the order in which devices are numbered.
    """
    counts, sizes = program.counts(), dict(mesh)
    devices = 1
    for size in sizes.values():
        devices *= size
    found: dict[tuple[str, str, int], list[int]] = {}
    for name, instruction in program.instructions():
        kind = kind_of(instruction)
        if kind is None or not counts.get(name):
            continue
        over = groups(instruction.text, devices)
        group = max(map(len, over)) if over else devices
        if group < 2:
            continue
        moved, runs = payload(instruction, kind, group), counts[name]
        if kind == "all-reduce" and _scatters(program, name):
            kind = "reduce-scatter"
        entry = found.setdefault((kind, axes_of(over, sizes), group), [0, 0, 0, 0])
        for index, value in enumerate((1, runs, runs * moved, runs * round(moved * wire_share(kind, group)))):
            entry[index] += value
    kept = [
        Collective(kind, axes, instructions, runs, moved, sent, group)
        for (kind, axes, group), (instructions, runs, moved, sent) in found.items()
    ]
    return sorted(kept, key=lambda each: -each.wire_bytes)


def kind_of(instruction: Instruction) -> str | None:
    """Returns the kind of collective that an instruction is or begins; `None` where it is none, or the end of one."""
    opcode = instruction.opcode.removesuffix("-start")
    return opcode if opcode in KINDS else None


def payload(instruction: Instruction, kind: str, group: int) -> int:
    """Returns the bytes of one device that an instruction moves: of a gather's result, of a reduction's operand."""
    arrays = shape_bytes(instruction.shape)
    if instruction.opcode.endswith("-start") and instruction.shape.startswith("(") and kind != "all-reduce":
        # What is begun carries its operands beside its results, a permutation two numbers behind them.
        arrays = arrays[1:2] if kind == "collective-permute" else arrays[len(arrays) // 2 :]
    return sum(arrays) * (group if kind == "reduce-scatter" else 1)


def wire_share(kind: str, group: int) -> float:
    """Returns what a device sends for each byte of `payload`, by a ring of `group` devices."""
    if kind == "collective-permute":
        return 1.0
    return (2.0 if kind == "all-reduce" else 1.0) * (group - 1) / group


def _scatters(program: HloProgram, computation: str) -> bool:
    """Tells whether a reduction is the inside of a TPU's fused reduce-scatter, which is written as one and a slice."""
    return "reduce-scatter" in computation or any(
        "reduce-scatter" in caller.name and computation in caller.called
        for _, caller in program.instructions()
        if caller.opcode == "fusion"
    )
