"""What a vocabulary cannot say of instruction data, before anything is made of it."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flan_jax.data.formats.cleaning import Cleaning
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions.origin import Origin
from flan_jax.data.instructions.profile import normalized_records
from flan_jax.data.prepare.config import FEATURES, RecordCounts
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.tokenizers.vocabulary import Vocabulary, encode_arrays
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record

_BATCH = 256


def unspelled(origin: Origin, known: Format, cleaning: Cleaning, vocabulary: Vocabulary) -> Mapping[str, Any]:
    """Unknown ids and the texts that have one, by side, and some of what cannot be said; as JSON values.

    What the assistant says, an output and targets are targets; all else that is said is an input.
    """
    counts = RecordCounts()
    sides = (
        _sides(record)
        for _, _, record in normalized_records(origin, known, cleaning.begin(), lambda reason: None)
        if not isinstance(record, UserError)
    )
    while batch := list(itertools.islice(sides, _BATCH)):
        for feature, texts in zip(FEATURES, map(_flat, zip(*batch, strict=True)), strict=True):
            count_unknown(counts, vocabulary, feature, encode_arrays(vocabulary, texts), texts.__getitem__)
    return {
        feature: {
            "ids": counts.unknown[feature],
            "texts": counts.unknown_examples[feature],
            "pieces": counts.unknown_pieces.get(feature, []),
        }
        for feature in FEATURES
    }


def _flat(parts: Iterable[Iterable[str]]) -> list[str]:
    return list(itertools.chain.from_iterable(parts))


def _sides(record: Record) -> tuple[list[str], list[str]]:
    """The texts that are read, and those that are written."""
    if "messages" in record:
        said: Iterator[tuple[bool, str]] = ((m["role"] == "assistant", m["content"]) for m in record["messages"])
        pairs = list(said)
        return [text for answer, text in pairs if not answer], [text for answer, text in pairs if answer]
    answers = record["output"] if "output" in record else record["targets"]
    asked = [record[key] for key in ("instruction", "input", "inputs") if record.get(key)]
    return asked, [answers] if isinstance(answers, str) else list(answers)
