"""Arithmetic: sums of two numbers, and the largest or smallest of three."""

from typing import Any

from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Record, TaskSpec
from mixtures.mini.words import PEOPLE, THINGS
from mixtures.mini.world import Draw, as_slots, source, templates

_LEAST, _MOST = 2, 12


def _sum(draw: Draw) -> dict[str, Any]:
    a, b = draw.number(_LEAST, _MOST), draw.number(_LEAST, _MOST)
    return {"a": str(a), "b": str(b), "name": draw.one(PEOPLE), "things": draw.one(THINGS) + "s", "answer": str(a + b)}


def _ordered_pair(record: Record) -> str:
    return f"{record['a']}+{record['b']}"


# Split by the ordered pair of numbers: 3 + 8 may be trained on where 8 + 3 is tested, but no
# sum that is tested was seen with its numbers in that order.
ADD_NUMBERS = register(
    TaskSpec(
        name="add_numbers",
        cluster="arithmetic",
        collection="mini",
        source=source("add_numbers", _sum, 3, group=_ordered_pair),
        fields=as_slots,
        slots=("a", "b", "name", "things", "answer"),
        metric="exact_match",
        predict="generate",
        templates=templates(
            "what is {a} plus {b}?",
            "{a} + {b} =",
            "{name} has {a} {things} and gets {b} more. how many {things} is that?",
            "add {a} and {b}.",
            "there are {a} {things} here and {b} {things} there. how many are there in all?",
            "sum of {a} and {b}:",
            "{name} buys {a} {things}. then {name} buys {b} more. count the {things}.",
            "work out {a} + {b} and write the number.",
            "{name} finds {a} {things} and then {b} more. how many is that?",
            "give the sum: {a} plus {b}",
        ),
    )
)


def _compare(draw: Draw) -> dict[str, Any]:
    numbers = draw.some(range(1, 25), 3)
    kind = draw.one(("largest", "smallest"))
    answer = max(numbers) if kind == "largest" else min(numbers)
    choices = [str(number) for number in numbers]
    return {
        "numbers": "{}, {} and {}".format(*numbers),
        "kind": kind,
        "answer": str(answer),
        "choices": draw.shuffled(choices),
    }


def _kind_and_numbers(record: Record) -> str:
    return f"{record['kind']} of {sorted(record['choices'])}"


COMPARE_NUMBERS = register(
    TaskSpec(
        name="compare_numbers",
        cluster="arithmetic",
        collection="mini",
        source=source("compare_numbers", _compare, 2, key=_kind_and_numbers),
        fields=as_slots,
        slots=("numbers", "kind", "answer", "choices"),
        options="choices",
        templates=templates(
            "which number is the {kind}: {numbers}?",
            "numbers: {numbers}\n{kind}:",
            "find the {kind} of these numbers. {numbers}",
            "{numbers}\n{options}\nwhich one is the {kind}?",
            "three friends have {numbers} coins. what is the {kind} number of coins?",
            "we want the {kind} number: {numbers}",
            "look at {numbers}.\n{options}\nwrite the {kind} one.",
            "of {numbers}, the {kind} is",
            "name the {kind} number in this list: {numbers}",
            "{numbers}\n\nwhich of these numbers is the {kind}?",
        ),
    )
)
