"""Lints templates: finds what works and is bad.

``TaskSpec`` refuses what cannot work. This finds templates that say the
same, words that announce options where none are listed, parts that run into each other where a
vocabulary drops line ends, characters that T5's vocabulary does not have, an inverted template
that shows what it asks for.
"""

import itertools
import re
import string
from collections.abc import Iterator, Sequence

from flan_jax.tasks.spec import TaskSpec
from flan_jax.tasks.template import ANSWER_SLOT, OPTIONS_SLOT, Template, slots_of

NEAR = 0.8
"""Two templates are near-duplicates from this similarity of words on: 1 − edit distance / length of the longer."""
MOST_INVERTED = 4

_UNKNOWN_TO_T5 = re.compile(r"[{}~^\\<|`\t]")
_ANNOUNCES = re.compile(
    r"\b(options?|choices?|(choose|pick|select)\s+(one\s+)?(from|between|among)|(given|listed|shown) (below|above)"
    r"|one of (these|those|the following)|which of (these|the following)|the following (answers?|labels?))\b|\(A\)",
    re.IGNORECASE,
)
_UGLY = re.compile(r" {2,}|\s[,.;:?!](\s|$)|[ \t]\n|(?<!\.)\.\.(?!\.)|,,|\?\?")


def review(spec: TaskSpec) -> list[str]:
    """Lints the templates of ``spec``; returns a sentence for each finding.

    Templates in a language of their own are not read.
    """
    if spec.renders_itself:
        return []
    findings = []
    for kind, given in (("template", spec.templates), ("reasoning template", spec.cot_templates)):
        templates = [template for template in given if isinstance(template, Template)]
        for index, template in enumerate(templates):
            findings += [f"{spec.name}, {kind} {index}: {finding}" for finding in _findings(spec, template)]
        for (i, one), (j, other) in itertools.combinations(enumerate(templates), 2):
            alike = similarity(one.inputs, other.inputs)
            if alike >= NEAR and one.targets == other.targets:
                findings.append(f"{spec.name}, {kind}s {i} and {j} say nearly the same ({alike:.2f} alike).")
    inverted = len(spec.templates) - len(spec.scored_templates)
    if inverted > MOST_INVERTED:
        findings.append(f"{spec.name} has {inverted} inverted templates; FLAN has {MOST_INVERTED} at most.")
    return findings


def _findings(spec: TaskSpec, template: Template) -> Iterator[str]:
    words = "".join(literal for literal, _ in pieces(template.inputs + template.targets))
    if strange := _UNKNOWN_TO_T5.search(words):
        yield f"{strange.group()!r} is not in T5's vocabulary."
    if spec.options and not template.inverted and (said := _ANNOUNCES.search(words)):
        yield f"{said.group()!r} announces options, which are not listed in every mode."
    if ugly := _UGLY.search(template.inputs):
        yield f"{ugly.group()!r} in its text: doubled, stray or trailing."
    if words.count("“") != words.count("”") or words.count('"') % 2 or words.count("(") != words.count(")"):
        yield "quotation marks or brackets are not balanced."
    for (_, before), (literal, after) in itertools.pairwise(pieces(template.inputs)):
        if before and after and after != OPTIONS_SLOT and not literal.strip():
            yield f"{{{before}}} and {{{after}}} run into each other where line ends are dropped."
    if template.inverted:
        asked = set(slots_of(template.targets))
        asked |= {ANSWER_SLOT, spec.answer} if asked & {ANSWER_SLOT, spec.answer} else set()
        if shown := asked & set(slots_of(template.inputs)):
            yield f"it shows {{{min(shown)}}}, which it asks for."


def pieces(text: str) -> list[tuple[str, str]]:
    """Splits a template into (words, the slot behind them); the last slot is ``""`` where the text ends in words.

    >>> pieces("Say {x} to {y}!")
    [('Say ', 'x'), (' to ', 'y'), ('!', '')]
    """
    return [(literal, name or "") for literal, name, _, _ in string.Formatter().parse(text)]


def similarity(one: str, other: str) -> float:
    """Measures similarity: 1 − edit distance in words / length of the longer; every slot is the same word.

    >>> similarity("Is {a} true?", "Is {b} false?")
    0.6666666666666667
    """
    first, second = _words(one), _words(other)
    longest = max(len(first), len(second))
    return 1 - _distance(first, second) / longest if longest else 1.0


def _words(text: str) -> list[str]:
    masked = "".join(literal + (" SLOT " if slot and slot != OPTIONS_SLOT else "") for literal, slot in pieces(text))
    return re.findall(r"\w+", masked.lower())


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, start=1):
        previous, row = row, [i]
        for j, candidate in enumerate(other, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != candidate)))
    return row[-1]
