"""A source over one task file of Super-NaturalInstructions (``superni_file``), and the metadata in its first fields.

A file is a JSON object: a definition in words, worked examples good and bad, instances with one
or more accepted outputs, and where all of it comes from.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.file_readers.compressed import READ_ERRORS, open_data
from flan_jax.data.sources.base import digest, file_digest, missing_data, resolve
from flan_jax.data.sources.holdback import HoldbackSplit
from flan_jax.data.sources.json_files import load_json
from flan_jax.data.sources.published import origin
from flan_jax.errors import RecordError, UserError
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.source import NumberedRecord, Source
from flan_jax.tasks.unicode_check import block, unsound
from flan_jax.unique_keys import RepeatedKeyError

TRAINING = "training"
EVALUATION = "evaluation"

_log = logging.getLogger(__name__)
HEAD_BYTES = 1 << 16
"""Bytes that hold the metadata, which is among the first fields, before examples and instances."""
# Data sets that the benchmark calls otherwise than their publishers do.
_KNOWN_AS = {"measuringmassivemultitasklanguageunderstanding": "mmlu", "scitailv11": "scitail", "winogradwsc": "wsc"}


@dataclasses.dataclass(frozen=True)
class SuperNIFile(HoldbackSplit):
    """A source of one task file's records. See ``superni_file``.

    A record has ``id``, ``input``, ``output`` (the references, blank ones left out),
    ``definition``, ``positive`` and ``negative`` (pairs of an input and its output), and their
    explanations in ``positive_explanations`` and ``negative_explanations``, ``""`` for none.
    """

    path: str
    role: str = TRAINING
    max_instances: int = 100
    max_validation: int = 20
    seed: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        """``train`` and ``validation`` of a training task, ``test`` of an evaluation task."""
        return ("train", "validation") if self.role == TRAINING else ("test",)

    def _file(self, split: str) -> Path:
        if split not in self.splits:
            raise UserError(f"{self.describe()} has no split {split!r}. It has: {', '.join(self.splits)}.")
        path = resolve(self.path)
        if not path.is_file():
            raise missing_data(self.describe(), path)
        return path

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the split's instances in the file's order.

        Instances without any output that is not blank cannot be learned or scored; they are left
        out, and a log line counts them. An unreadable instance keeps its place, and is on one
        side of the split as if its JSON were its input.

        Raises:
            UserError: no such file, or not one of this schema; named by file and instance.
        """
        path = self._file(split)
        considered, usable = self._usable(_Instances(path).content()[1])
        if len(usable) < considered:
            _log.warning(
                "%s: %d of %d instances have no output and are left out", path, considered - len(usable), considered
            )
        yield from super().read(split)

    def divided(self, split: str) -> tuple[Source, str]:
        """Returns the stream of all instances of the file."""
        return _Instances(self._file(split)), "train"

    def positions(self, split: str) -> Sequence[int]:
        """Returns the stream of the split's instances, as ``_part`` divides them."""
        _, instances = _Instances(self._file(split)).content()
        return self._part(instances, self._usable(instances)[1], split)

    def _usable(self, instances: Sequence[dict[str, Any]]) -> tuple[int, list[int]]:
        """Counts the instances considered, and returns the numbers of those that can be learned or scored."""
        # The benchmark counts before anything is left out: its first 100 are these.
        considered = min(self.max_instances, len(instances)) if self.role == EVALUATION else len(instances)
        return considered, [
            number for number in range(considered) if instances[number]["output"] or "error" in instances[number]
        ]

    def _part(self, instances: Sequence[dict[str, Any]], usable: list[int], split: str) -> list[int]:
        """Returns the numbers of a split's instances, in order.

        Of a training task, a tenth, at most ``max_validation``, is for validation, and at most
        ``max_instances`` of the rest for training. Both are drawn by a hash of the input text, so that equal inputs never stand on both sides
        and a longer file of the same task does not reorder what a shorter one held.
        """
        if self.role == EVALUATION:
            return usable
        groups: dict[str, list[int]] = {}
        for number in usable:
            groups.setdefault(instances[number]["input"], []).append(number)
        drawn = [
            groups[text] for text in sorted(groups, key=lambda text: (counter_hash("superni", self.seed, text), text))
        ]
        wanted = min(self.max_validation, max(1, len(usable) // 10)) if len(groups) > 1 else 0
        validation: list[int] = []
        while drawn and len(validation) < wanted:
            validation += drawn.pop(0)
        rest = [number for group in drawn for number in group]
        return sorted(validation if split == "validation" else rest[: self.max_instances])

    def fingerprint(self, split: str) -> str:
        """Digests the file's content and its division into splits; hexadecimal."""
        path = self._file(split)
        return digest("superni 1", file_digest(path), split, self.max_instances, self.max_validation, self.seed)

    def metadata(self) -> "Metadata":
        """Reads the file's metadata."""
        return metadata(self._file(self.splits[0]))

    def origins(self) -> frozenset[str]:
        """Names the data sets that the task was made from, by names without case and punctuation."""
        return frozenset(_KNOWN_AS.get(name, name) for name in map(origin, self.metadata().sources))

    def describe(self) -> str:
        """Names the file and its part in the benchmark."""
        return f"Super-NaturalInstructions {self.role} task {self.path!r}"


@dataclasses.dataclass(frozen=True)
class _Instances(Source):
    """A stream of a file's instances in its order, each with definition and examples of the file."""

    path: Path

    def content(self) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
        """Returns definition and examples, and the instances; see ``_content``."""
        stat = self.path.stat()
        return _content(self.path, stat.st_size, stat.st_mtime_ns)

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the instances, those without output among them."""
        instructions, instances = self.content()
        for index, instance in enumerate(instances):
            unreadable = instance.get("error")
            yield index, unreadable or {**instance, **instructions}

    def place(self, split: str, index: int) -> str:
        """Names file and instance."""
        return f"{self.path}, Instances[{index}]"

    def fingerprint(self, split: str) -> str:
        """Digests the file's content; hexadecimal."""
        return file_digest(self.path)

    def size_hint(self, split: str) -> int:
        """Returns the bytes of the file."""
        return self.path.stat().st_size


def superni_file(
    path: str | Path, *, role: str = TRAINING, max_instances: int = 100, max_validation: int = 20, seed: int = 0
) -> SuperNIFile:
    """Makes a source over one original task file; a relative path starts at the data folder.

    Args:
        path: the ``*.json`` file.
        role: ``training`` (splits ``train`` and ``validation``) or ``evaluation`` (``test``: the
            first ``max_instances``, as the benchmark takes them).
        max_instances: at most so many records of ``train`` or ``test``.
        max_validation: at most so many records of ``validation``.
        seed: which instances of a training task validate.

    Raises:
        UserError: an unknown role or a limit below 1.
    """
    if role not in (TRAINING, EVALUATION):
        raise UserError(
            f"Super-NaturalInstructions task {str(path)!r}: role={role!r} must be {TRAINING!r} or {EVALUATION!r}."
        )
    if max_instances < 1 or max_validation < 1:
        raise UserError(
            f"Super-NaturalInstructions task {str(path)!r}: the limits on instances must be at least 1, not {max_instances} and {max_validation}."
        )
    return SuperNIFile(str(path), role, max_instances, max_validation, seed)


@functools.lru_cache(maxsize=1)  # one file at a time: its splits are read one after the other
def _content(path: Path, size: int, modified_ns: int) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """Reads definition and examples, and the instances of a file; an unreadable instance has an ``error``."""
    content = load_json(path, spoiled=True, content=_bytes(path))
    instructions = _instructions(content, path)
    instances = []
    for index, instance in enumerate(content["Instances"]):
        try:
            instances.append(_instance(instance, f"{path}, Instances[{index}]"))
        except UserError as error:
            instances.append({"input": _written(instance, index), "output": (), "error": RecordError(str(error))})
    return instructions, tuple(instances)


def _bytes(path: Path, count: int = -1) -> bytes:
    """Reads a file, decompressed by its suffix; the first ``count`` bytes of it where given."""
    with open_data(path) as file:
        try:
            return bytes(file.read(count))
        except READ_ERRORS as error:
            raise UserError(f"{path}: the file is damaged ({error}). Fetch it again.") from error


def _written(instance: Any, index: int) -> str:
    with contextlib.suppress(RecursionError, TypeError):  # nested too deeply, or none that could be read
        return json.dumps(instance)
    return f"instance {index}"


def _instructions(content: Any, path: Path) -> dict[str, Any]:
    keys = ("Definition", "Positive Examples", "Instances")
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(
            f"{path}: no {missing[0]!r}. A Super-NaturalInstructions task file is an object with {', '.join(keys)}."
        )
    definition = content["Definition"]
    if isinstance(definition, list) and definition:
        definition = definition[0]
    if not isinstance(definition, str) or not definition.strip():
        raise UserError(f"{path}: 'Definition' must be a text, or a list that starts with one.")
    if wrong := unsound(definition):
        raise UserError(f"{path}: 'Definition' {wrong}. Correct the file.")
    if not isinstance(content["Instances"], list) or not isinstance(content["Positive Examples"], list):
        raise UserError(f"{path}: 'Instances' and 'Positive Examples' must be lists.")
    found: dict[str, Any] = {"definition": block(definition)}
    for key, name in (("Positive Examples", "positive"), ("Negative Examples", "negative")):
        shown = _examples(content.get(key, []), f"{path}, {key}")
        found[name] = tuple((given, answer) for given, answer, _ in shown)
        found[f"{name}_explanations"] = tuple(why for _, _, why in shown)
    return found


def _examples(examples: Any, where: str) -> list[tuple[str, str, str]]:
    """Reads input, output and explanation of each worked example that has an output."""
    if not isinstance(examples, list):
        raise UserError(f"{where}: must be a list.")
    found = []
    for index, example in enumerate(examples):
        shown = _instance(example, f"{where}[{index}]")
        why = example.get("explanation")
        if why is not None and not isinstance(why, str):
            raise UserError(f"{where}[{index}]: 'explanation' must be a text. Correct or remove it.")
        if wrong := unsound(why or ""):
            raise UserError(f"{where}[{index}]: 'explanation' {wrong}. Correct or remove it.")
        if shown["output"]:
            found.append((shown["input"], shown["output"][0], block(why or "")))
    return found


def _instance(instance: Any, where: str) -> dict[str, Any]:
    if isinstance(instance, RepeatedKeyError):
        raise UserError(f"{where}: {instance}. Correct or remove it.")
    if not isinstance(instance, dict) or not isinstance(instance.get("input"), str) or "output" not in instance:
        raise UserError(f"{where}: must be an object with a text 'input' and an 'output'. Correct or remove it.")
    outputs = instance["output"] if isinstance(instance["output"], list) else [instance["output"]]
    if not all(isinstance(output, str) for output in outputs):
        raise UserError(f"{where}: 'output' must be a text or a list of texts. Correct or remove it.")
    for name, text in (("input", instance["input"]), *(("output", output) for output in outputs)):
        if wrong := unsound(text):
            raise UserError(f"{where}: {name!r} {wrong}. Correct or remove it.")
    kept = tuple(dict.fromkeys(block(output) for output in outputs if output.strip()))
    return {"id": str(instance.get("id", "")), "input": block(instance["input"]), "output": kept}


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of a task file, in the benchmark's words.

    Attributes:
        categories: the kinds of task; the first is what it is held out with.
        sources: the data sets that it was made from.
        input_languages: languages of its inputs.
        output_languages: languages of its outputs.
        instruction_languages: languages of its definition.
        domains: what its texts are about.
        reasoning: the kinds of reasoning that it takes.
    """

    categories: tuple[str, ...]
    sources: tuple[str, ...] = ()
    input_languages: tuple[str, ...] = ()
    output_languages: tuple[str, ...] = ()
    instruction_languages: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()


_KEYS = {
    "categories": "Categories",
    "sources": "Source",
    "input_languages": "Input_language",
    "output_languages": "Output_language",
    "instruction_languages": "Instruction_language",
    "domains": "Domains",
    "reasoning": "Reasoning",
}


def metadata(path: Path) -> Metadata:
    """Reads the metadata of a task file, from its head where that holds it.

    Raises:
        UserError: no category.
    """
    stat = path.stat()
    return _metadata(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _metadata(path: Path, size: int, modified_ns: int) -> Metadata:
    head = _bytes(path, HEAD_BYTES).decode(errors="ignore")
    found: dict[str, Any] = {field: _in_head(head, key) for field, key in _KEYS.items()}
    if not found["categories"]:
        content = load_json(path, content=_bytes(path))
        if isinstance(content, dict):
            found = {field: content.get(key) for field, key in _KEYS.items()}
    texts = {field: _texts(value) for field, value in found.items()}
    if not texts["categories"]:
        raise UserError(
            f"{path}: no 'Categories'. A Super-NaturalInstructions task file lists at least one, which says what it is held out with."
        )
    return Metadata(**texts)


def _in_head(head: str, key: str) -> Any:
    """Parses the value of a field that begins in the head; ``None`` for none, or one cut in the middle."""
    match = re.search(rf'"{key}"\s*:\s*', head)
    # Not JSON, cut in the middle, nested too deeply, or a number of too many digits.
    with contextlib.suppress(ValueError, RecursionError):
        return json.JSONDecoder().raw_decode(head, match.end())[0] if match else None
    return None


def _texts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())


def category(path: Path) -> str:
    """Reads the first category of a task file.

    Raises:
        UserError: no category.
    """
    return metadata(path).categories[0]
