"""Reads the text of a compiled XLA program: its instructions, and how often a step runs each of them.

A stack of layers is a loop, and what stands in its body once is run once a layer; `HloProgram.counts` says how often.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4,
    "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16, "s4": 0.5, "u4": 0.5,
}  # fmt: skip
_HEADER = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[^\s(]+) \(.*\{\s*$")
_INSTRUCTION = re.compile(r"^\s+(?P<root>ROOT )?%?(?P<name>[^\s=]+) = (?P<rest>.*)$")
_OPCODE = re.compile(r"^\s*(?P<opcode>[a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"\b(?P<dtype>[a-z]+\d*(?:e\d+m\d+\w*)?)\[(?P<dims>[\d,<= ]*)\]")
_OPERAND = re.compile(r"%([^\s,()]+)")
_CALLS = re.compile(
    r"\b(calls|to_apply|body|condition|branch_computations|called_computations|true_computation|false_computation)"
    r"=(\{[^}]*\}|%?[^\s,]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a computation.

    Attributes:
        name: without the percent sign.
        shape: of its result, as the text has it: `f32[8,128]{1,0}` or a tuple of such.
        opcode: for example `fusion`, `all-gather-start`.
        operands: names of the instructions that it reads.
        text: the attributes behind the operands.
        root: it is what its computation gives.
        arguments: the text between the parentheses.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    text: str
    root: bool = False
    arguments: str = ""

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it calls; what a reduction applies to pairs of numbers is none of them."""
        found = []
        for role, value in _CALLS.findall(self.text):
            if role != "to_apply" or self.opcode == "call":
                found += [name.strip().lstrip("%") for name in value.strip("{}").split(",")]
        return tuple(name for name in found if name)


@dataclasses.dataclass(frozen=True)
class HloProgram:
    """A compiled program.

    Attributes:
        computations: name → instructions, in the order of the text.
        entry: name of the computation that is run.
    """

    computations: dict[str, tuple[Instruction, ...]]
    entry: str

    @classmethod
    def parse(cls, text: str) -> "HloProgram":
        """Reads a program as `Compiled.as_text()` prints it.

        Raises:
            ValueError: the text has no entry computation.
        """
        computations: dict[str, list[Instruction]] = {}
        current, entry = "", ""
        for line in text.splitlines():
            if line and not line[0].isspace():
                header = _HEADER.match(line)
                if header:
                    current = header["name"]
                    computations[current] = []
                    entry = current if header["entry"] else entry
            elif current and (found := _INSTRUCTION.match(line)):
                instruction = _instruction(found["name"], found["rest"], bool(found["root"]))
                if instruction is not None:
                    computations[current].append(instruction)
        if not entry:
            raise ValueError("The text is no HLO module: it has no ENTRY computation.")
        return cls({name: tuple(body) for name, body in computations.items()}, entry)

    def counts(self) -> dict[str, int]:
        """Returns how often one run of the program runs each computation; a loop of unknown length counts once."""
        counts: dict[str, int] = {}
        pending = [(self.entry, 1)]
        while pending:
            name, times = pending.pop()
            if name not in self.computations:
                continue
            counts[name] = counts.get(name, 0) + times
            for instruction in self.computations[name]:
                inner = times * (self.trips(instruction) if instruction.opcode == "while" else 1)
                pending += [(called, inner) for called in instruction.called]
        return counts

    def trips(self, loop: Instruction) -> int:
        """Returns how often a `while` runs its body: as the compiler notes it, or the bound that its condition compares with."""
        if known := _TRIPS.search(loop.text):
            return int(known[1])
        condition = re.search(r"condition=%?([^\s,]+)", loop.text)
        body = self.computations.get(condition[1], ()) if condition else ()
        bounds = [int(instruction.arguments) for instruction in _constants(self, body)]
        return max(bounds, default=1) or 1

    def instructions(self) -> Iterator[tuple[str, Instruction]]:
        """Yields every instruction with the name of its computation."""
        for name, body in self.computations.items():
            for instruction in body:
                yield name, instruction

    def fused(self) -> set[str]:
        """Returns the computations that are the inside of a fusion, whose values never reach the memory."""
        return {
            called
            for _, instruction in self.instructions()
            if instruction.opcode == "fusion"
            for called in instruction.called
        }


def _constants(program: HloProgram, body: tuple[Instruction, ...]) -> Iterator[Instruction]:
    for instruction in body:
        if instruction.opcode == "constant" and instruction.arguments.isdigit():
            yield instruction
        for called in instruction.called:
            yield from _constants(program, program.computations.get(called, ()))


def _instruction(name: str, rest: str, root: bool) -> Instruction | None:
    end = _end_of_shape(rest)
    opcode = _OPCODE.match(rest[end:])
    if not opcode:
        return None
    begin = end + opcode.end()
    close = _closing(rest, begin)
    arguments = rest[begin:close]
    return Instruction(
        name=name,
        shape=rest[:end].strip(),
        opcode=opcode["opcode"],
        operands=tuple(_OPERAND.findall(arguments)),
        text=rest[close + 1 :],
        root=root,
        arguments=arguments,
    )


def _end_of_shape(rest: str) -> int:
    """Index behind the result's shape: a tuple in parentheses, or a word."""
    if rest.startswith("("):
        return _closing(rest, 1) + 1
    space = rest.find(" ")
    return space if space >= 0 else len(rest)


def _closing(text: str, begin: int) -> int:
    """Index of the parenthesis that closes the one in front of `begin`."""
    depth = 1
    for match in re.finditer(r"[()]", text[begin:]):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return begin + match.start()
    return len(text)


def shape_bytes(shape: str) -> list[int]:
    """Returns the bytes of every array of a shape, in order; padding of a layout is not counted.

    >>> shape_bytes("(f32[8,128]{1,0:T(8,128)}, bf16[4])")
    [4096, 8]
    """
    return [
        int(math.prod(_dims(found["dims"])) * BYTES[found["dtype"]])
        if found["dtype"] in BYTES
        else math.prod(_dims(found["dims"]))  # the kinds of float8
        for found in _ARRAY.finditer(re.sub(r"\{[^{}]*\}", "", shape))
        if found["dtype"] in BYTES or found["dtype"].startswith("f8")
    ]


def shape_dims(shape: str) -> list[int]:
    """Returns the dimensions of a shape's first array; none of a scalar.

    >>> shape_dims("(f32[8,128]{1,0}, s8[16])")
    [8, 128]
    """
    found = _ARRAY.search(re.sub(r"\{[^{}]*\}", "", shape))
    return _dims(found["dims"]) if found else []


def _dims(text: str) -> list[int]:
    return [int(part.strip(" <=")) for part in text.split(",") if part.strip(" <=")]
