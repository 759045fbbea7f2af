"""The formats of rendered prompts with their answers: dumps of FLAN and P3, prompt and completion."""

from collections.abc import Iterator
from typing import Any

from flan_jax.data.formats.record_format import Format, LeftOut, provenance, text_of, texts_at, texts_of
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import block

_FLAN = ("task_source", "task_name", "template_type", "template_idx")
_ELSEWHERE = {"dataset": "task_name", "template": "template_type"}  # as xP3 has it
_P3 = ("inputs_pretokenized", "targets_pretokenized")


def _is_flan(record: Record) -> bool:
    return texts_at(record, "inputs", "targets") or texts_at(record, *_P3)


def _read_flan(record: Record, left_out: LeftOut) -> Iterator[Record]:
    keys = _P3 if texts_at(record, *_P3) and not texts_at(record, "inputs") else ("inputs", "targets")
    told: dict[str, Any] = {new: record[old] for old, new in _ELSEWHERE.items() if isinstance(record.get(old), str)}
    for key in _FLAN:  # some copies begin these with an underscore
        for value in provenance(record, f"_{key}", key).values():
            told[key] = value
    yield {
        "inputs": text_of(record, keys[0]),
        "targets": text_of(record, keys[1]),
        **told,
        **provenance(record, "id", "language"),
    }


def _is_recross(record: Record) -> bool:
    return texts_at(record, "input", "id") and isinstance(record.get("outputs"), list) and record["id"].count("|") == 3


def _read_recross(record: Record, left_out: LeftOut) -> Iterator[Record]:
    task, _, template, _ = text_of(record, "id").split("|")
    yield {
        "inputs": text_of(record, "input"),
        "targets": texts_of(record, "outputs"),
        "task_source": "P3",
        "task_name": task,
        "template_type": template,
        "id": record["id"],
    }


def _answer_key(record: Record) -> str:
    return next((key for key in ("completion", "response") if isinstance(record.get(key), str)), "completion")


def _is_prompt_completion(record: Record) -> bool:
    return texts_at(record, "prompt") and texts_at(record, _answer_key(record))


def _read_prompt_completion(record: Record, left_out: LeftOut) -> Iterator[Record]:
    yield {
        "inputs": text_of(record, "prompt"),
        "targets": text_of(record, _answer_key(record)),
        **provenance(record, "id", "source", "category", "template"),
    }


def _is_cot(record: Record) -> bool:
    return set(record) == {"question", "answer", "rationale"} and texts_at(record, "question", "answer", "rationale")


def _read_cot(record: Record, left_out: LeftOut) -> Iterator[Record]:
    """The reasoning, then the answer."""
    question, answer, rationale = (block(text_of(record, key)) for key in ("question", "answer", "rationale"))
    yield {
        "instruction": question,
        "input": "",
        "output": f"{rationale}\nThe answer is {answer}" if rationale and answer else answer,
    }


FLAN_DUMP = Format(
    name="flan_dump",
    reads=(*_FLAN, *(f"_{key}" for key in _FLAN), *_ELSEWHERE, *_P3),
    about="inputs, targets; maybe task_source, task_name, template_type",
    kind="rendered",
    keys=("inputs", "targets"),
    detect=_is_flan,
    read=_read_flan,
)
RECROSS = Format(
    name="recross",
    about="input, outputs: a list of texts, id: dataset|split|template|row",
    kind="rendered",
    keys=("input", "outputs", "id"),
    detect=_is_recross,
    read=_read_recross,
)
PROMPT_COMPLETION = Format(
    name="prompt_completion",
    reads=("response",),
    about="prompt, and completion or response, both texts",
    kind="rendered",
    keys=("prompt", "completion"),
    detect=_is_prompt_completion,
    read=_read_prompt_completion,
)
FLAN_COT = Format(
    name="flan_cot",
    about="a .tsv file with three columns: question, answer, chain of thought",
    kind="instruction",
    keys=("question", "answer", "rationale"),
    detect=_is_cot,
    read=_read_cot,
)
