"""Bytes that a compiled program reads from and writes to the device's memory in one run, loops counted.

Every instruction outside of a fusion reads its operands and writes its result once. Of an operand that a fusion only
slices, only the slices count: a layer's part of the stacked parameters.
"""

from flan_jax.plan.collectives import KINDS
from flan_jax.plan.hlo import HloProgram, Instruction, shape_bytes

_FREE = frozenset(
    {
        "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "iota",
        "after-all", "partition-id", "replica-id", "opt-barrier", "async-start", "async-update", "async-done",
        "copy-done", "add-dependency", "broadcast", *(f"{kind}-done" for kind in KINDS),
    }
)  # fmt: skip
_SLICES = ("dynamic-slice", "slice", "gather")


def memory_traffic(program: HloProgram) -> int:
    """Returns the bytes of one device in one run of the program."""
    counts, inside = program.counts(), program.fused()
    total = 0
    for name, body in program.computations.items():
        if name in inside or not counts.get(name):
            continue
        shapes = {instruction.name: instruction.shape for instruction in body}
        total += counts[name] * sum(_bytes(program, instruction, shapes) for instruction in body)
    return total


def _bytes(program: HloProgram, instruction: Instruction, shapes: dict[str, str]) -> int:
    if instruction.opcode in _FREE:
        return 0
    result = sum(shape_bytes(instruction.shape))
    operands = [sum(shape_bytes(shapes.get(name, ""))) for name in instruction.operands]
    if instruction.opcode in _SLICES:
        return 2 * result
    if instruction.opcode == "dynamic-update-slice":
        return 2 * (operands[1] if len(operands) > 1 else result)
    if instruction.opcode == "fusion" and instruction.called:
        return _fusion_bytes(program.computations.get(instruction.called[0], ()), operands, result)
    if instruction.opcode.endswith("-start"):  # the result holds the operands, too
        return result
    return result + sum(operands)


def _fusion_bytes(body: tuple[Instruction, ...], operands: list[int], result: int) -> int:
    """Bytes of a fusion, of which some operands are only sliced, or changed in a part in place."""
    parameters = {each.name: int(each.arguments) for each in body if each.opcode == "parameter"}
    users: dict[str, list[Instruction]] = {}
    for each in body:
        for name in each.operands:
            users.setdefault(name, []).append(each)
    sizes = {each.name: sum(shape_bytes(each.shape)) for each in body}
    total, written = 0, result
    for name, index in parameters.items():
        size, used = operands[index] if index < len(operands) else 0, _behind_bitcasts(name, users)
        if used and all(each.opcode in _SLICES for each in used):
            size = min(size, sum(sizes[each.name] for each in used))
        elif used and all(
            each.opcode == "dynamic-update-slice" and each.operands[0] in _names(name, users) for each in used
        ):
            parts = sum(sizes.get(each.operands[1], 0) for each in used)
            written, size = min(written, max(written - size, 0) + parts), 0
        total += size
    return total + written


def _names(name: str, users: dict[str, list[Instruction]]) -> set[str]:
    found = {name}
    for each in users.get(name, ()):
        if each.opcode in ("bitcast", "copy", "convert"):
            found |= _names(each.name, users)
    return found


def _behind_bitcasts(name: str, users: dict[str, list[Instruction]]) -> list[Instruction]:
    found: list[Instruction] = []
    for each in users.get(name, ()):
        found += _behind_bitcasts(each.name, users) if each.opcode in ("bitcast", "convert") else [each]
    return found
