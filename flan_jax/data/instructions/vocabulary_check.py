"""Counts a vocabulary's unknown tokens in instruction data, before it is rendered (``count_unknown_tokens``)."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from flan_jax.data.formats.cleaning import Cleaning
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions.origin import Origin
from flan_jax.data.instructions.profile import normalized_records
from flan_jax.data.prepare.config import FEATURES, RecordCounts
from flan_jax.data.prepare.unknown_tokens import count_unknown
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record

_BATCH = 256


def count_unknown_tokens(
    origin: Origin, known: Format, cleaning: Cleaning, vocabulary: Vocabulary
) -> Mapping[str, Any]:
    """Counts unknown ids and the texts that have one, by side, with some of the pieces behind them; JSON values.

    Assistant messages, outputs and targets count as targets; all other text as inputs.
    """
    counts = RecordCounts()
    sides = (
        _split_sides(record)
        for _, _, record in normalized_records(origin, known, cleaning.cleaner(), lambda reason: None)
        if not isinstance(record, UserError)
    )
    while batch := list(itertools.islice(sides, _BATCH)):
        for feature, texts in zip(FEATURES, map(_flat, zip(*batch, strict=True)), strict=True):
            count_unknown(counts, vocabulary, feature, vocabulary.encode_arrays(texts), texts.__getitem__)
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


def _split_sides(record: Record) -> tuple[list[str], list[str]]:
    """Divides a record's texts into inputs and targets."""
    if "messages" in record:
        pairs = [(m["role"] == "assistant", m["content"]) for m in record["messages"]]
        return [text for answer, text in pairs if not answer], [text for answer, text in pairs if answer]
    answers = record["output"] if "output" in record else record["targets"]
    inputs = [record[key] for key in ("instruction", "input", "inputs") if record.get(key)]
    return inputs, [answers] if isinstance(answers, str) else list(answers)
