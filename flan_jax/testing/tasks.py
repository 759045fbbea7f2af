"""Toy tasks whose records are worked out by counting: instant, and the same everywhere.

``PARITY`` (cluster ``toy_number``) and ``VOWEL`` (cluster ``toy_letter``) have closed answers, ``COPY`` (cluster
``toy_copy``) is answered in free text. They are not in the catalogue; ``toy_mixture`` wires them up.
"""

import functools
from collections.abc import Mapping, Sequence

from flan_jax.data.sources.generated import generated
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.spec import Prompted, Record, TaskSpec, Template

_FIRST = {"train": 0, "validation": 1000, "test": 2000}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("red", "green", "blue", "small", "large", "cat", "dog", "tree", "house")


def _numbers(split: str, size: int) -> Sequence[Record]:
    return [{"number": _FIRST[split] + i} for i in range(size if split == "train" else max(1, size // 4))]


def _parity_fields(record: Record) -> Mapping[str, object]:
    return {"number": " ".join(str(record["number"])), "answer": "odd" if record["number"] % 2 else "even"}


def _vowel_fields(record: Record) -> Mapping[str, object]:
    letter = _LETTERS[record["number"] % len(_LETTERS)]
    options = ("vowel", "consonant") if record["number"] % 3 else ("consonant", "vowel")
    return {"letter": letter, "answer": "vowel" if letter in "aeiou" else "consonant", "kinds": options}


def _copy_fields(record: Record) -> Mapping[str, object]:
    number = record["number"]
    words = " ".join(WORDS[(number // 9**place) % 9] for place in range(3))
    return {"words": words, "answer": (words, words.upper())}


def parity(size: int = 64) -> TaskSpec:
    """Is a number odd or even? ``size`` training records, a quarter as many in other splits."""
    return TaskSpec(
        name="toy_parity",
        cluster="toy_number",
        source=generated("toy_parity", functools.partial(_numbers, size=size), version=1),
        fields=_parity_fields,
        slots=("number", "answer"),
        options=("odd", "even"),
        templates=(
            Template("Is the number {number} odd or even?\n\n{options}"),
            Template("{number}\n\nOdd or even?"),
            Template("Choose. {options}\n\nNumber: {number}"),
            Template("Name a number that is {answer}.", "{number}", inverted=True),
        ),
    )


def vowel(size: int = 64) -> TaskSpec:
    """Is a letter a vowel? The options come with each record, in two orders."""
    return TaskSpec(
        name="toy_vowel",
        cluster="toy_letter",
        source=generated("toy_vowel", functools.partial(_numbers, size=size), version=1),
        fields=_vowel_fields,
        slots=("letter", "answer", "kinds"),
        options="kinds",
        templates=(Template("Which kind of letter is {letter}?"), Template("{options}\n\nLetter: {letter}\nKind:")),
    )


def copy(size: int = 64) -> TaskSpec:
    """Repeat three words; two spellings are accepted."""
    return TaskSpec(
        name="toy_copy",
        cluster="toy_copy",
        source=generated("toy_copy", functools.partial(_numbers, size=size), version=1),
        fields=_copy_fields,
        slots=("words", "answer"),
        metric="exact_match",
        predict="generate",
        templates=(Template("Say this again: {words}"), Template("{words}\n\nRepeat the words above.")),
    )


PARITY = parity()
VOWEL = vowel()
COPY = copy()


def toy_mixture(name: str = "toy") -> Mixture:
    """Trains on ``PARITY`` and ``COPY``; holds ``VOWEL`` out."""
    training = (Prompted(PARITY), Prompted(COPY))
    return Mixture(
        name,
        tuple(Entry(task) for task in training),
        suites=(
            Suite("held_out", (Prompted(VOWEL),), held_out=True),
            Suite("held_in", training, split="validation"),
        ),
        vocabulary="bytes",
    )


def toy_vocabulary() -> WordVocabulary:
    """A word vocabulary that knows every word of the toy tasks, digits and letters one by one."""
    from flan_jax.tasks.render import render_split

    texts = [
        side
        for spec in (PARITY, VOWEL, COPY)
        for split in spec.source.splits
        for rendered in render_split(Prompted(spec), split)
        for side in (rendered.inputs, rendered.targets)
    ]
    return WordVocabulary.from_texts(texts, "toy")
