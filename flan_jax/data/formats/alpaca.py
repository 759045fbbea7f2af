"""The formats of one instruction with one answer: Alpaca, Evol-Instruct, Dolly."""

from collections.abc import Iterator

from flan_jax.data.formats.record_format import Format, LeftOut, provenance, text_of, texts_at, texts_of
from flan_jax.tasks.spec import Record

DOLLY_CATEGORIES = frozenset(
    (
        "brainstorming",
        "classification",
        "closed_qa",
        "creative_writing",
        "general_qa",
        "information_extraction",
        "open_qa",
        "summarization",
    )
)
_PROVENANCE = ("id", "category", "lang", "source")


def _is_alpaca(record: Record) -> bool:
    return texts_at(record, "instruction", "output") and "input" in record


def _is_evol(record: Record) -> bool:
    return texts_at(record, "instruction", "output") and not {"input", "instances", "context"} & set(record)


def _is_dolly(record: Record) -> bool:
    return texts_at(record, "instruction", "response") and "context" in record


def _is_renamed_dolly(record: Record) -> bool:
    return _is_alpaca(record) and record.get("category") in DOLLY_CATEGORIES


def _read(record: Record, left_out: LeftOut) -> Iterator[Record]:
    yield {
        "instruction": text_of(record, "instruction"),
        "input": text_of(record, "input", optional=True),
        "output": texts_of(record, "output"),
        **provenance(record, *_PROVENANCE),
    }


def _read_dolly(record: Record, left_out: LeftOut) -> Iterator[Record]:
    yield {
        "instruction": text_of(record, "instruction"),
        "input": text_of(record, "context", optional=True),
        "output": text_of(record, "response"),
        **provenance(record, *_PROVENANCE),
    }


ALPACA = Format(
    name="alpaca",
    about="instruction, input (maybe empty), output",
    kind="instruction",
    keys=("instruction", "input", "output"),
    detect=_is_alpaca,
    read=_read,
)
EVOL_INSTRUCT = Format(
    name="evol_instruct",
    about="instruction, output",
    kind="instruction",
    keys=("instruction", "output"),
    detect=_is_evol,
    read=_read,
)
DOLLY = Format(
    name="dolly",
    about="instruction, context (maybe empty), response, category",
    kind="instruction",
    keys=("instruction", "context", "response"),
    detect=_is_dolly,
    read=_read_dolly,
)
DOLLY_RENAMED = Format(
    name="dolly_alpagasus",
    about="Dolly with the keys of Alpaca: instruction, input, output, and one of Dolly's categories",
    kind="instruction",
    keys=("instruction", "input", "output", "category"),
    detect=_is_renamed_dolly,
    read=_read,
    refines=("alpaca",),
)
