"""Answers on disk while an evaluation runs, so that one that is killed goes on where it stood."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.language_model import Request
from flan_jax.files import writing

JOURNAL_FILE = "answers.journal"
_FORMAT = 1

Entry = tuple[str, int, Any]
"""The key of a set of examples, the index of one of them, and its answer as JSON has it."""


class Journal:
    """Answers by the key of their examples; each batch of them is a line, appended and flushed at once.

    A key is a digest of all that an answer depends on (``answers_key``), so an answer of other weights, settings or data is
    never found. A line carries its checksum: the half of a line that a kill left at the end is cut off, and what else is
    damaged is left out and counted; either way the answers are computed again. With several processes the first reads and
    writes, and all know the same.

    Attributes:
        path: of the file; it is there once something is added.
        damaged: lines that could not be read, the last one aside.
        answers: how many it held, whatever they belong to.
    """

    def __init__(self, path: Path) -> None:
        """Reads what an earlier evaluation left."""
        self.path = Path(path)
        self.damaged = 0
        self._writes = jax.process_index() == 0
        self._file: Any = None
        self._answers: dict[str, dict[int, Any]] = {}
        content = self.path.read_bytes() if self._writes and self.path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self._length = len(whole)
        self.answers = 0
        for line in _from_first(whole).splitlines():
            entries = _read_line(line)
            self.damaged += entries is None
            for key, index, answer in entries or ():
                self._answers.setdefault(key, {})[index] = answer
                self.answers += 1

    def known(self, key: str) -> dict[int, Any]:
        """Returns the answers to a set of examples: index → answer."""
        return self._answers.get(key, {})

    def add(self, entries: Iterable[Entry]) -> None:
        """Appends the answers of a batch.

        Raises:
            WritingError: the file system takes no more.
        """
        if not self._writes:
            return
        body = json.dumps([_FORMAT, list(entries)], ensure_ascii=False).encode("utf-8", "surrogatepass")
        with writing(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab")
                os.truncate(self.path, self._length)
            self._file.write(b"%08x %b\n" % (zlib.crc32(body), body))
            self._file.flush()

    def close(self) -> None:
        """Leaves the file to whoever goes on.

        Raises:
            WritingError: the file system takes no more; of an ``add`` that failed it is the same again.
        """
        file, self._file = self._file, None
        if file is not None:
            with writing(self.path):  # what could not be written is tried once more, and fails by an error of its own
                file.close()

    def remove(self) -> None:
        """Removes the file: what it held is in the results."""
        self.close()
        if self._writes:
            self.path.unlink(missing_ok=True)


def answers_key(request: Request, examples: Sequence[EvalExample], weights: str, settings: Any) -> str:
    """Hashes all that the answers to a set of examples depend on to 16 hexadecimal digits.

    Args:
        request: what is asked of them.
        examples: their tokens, options, targets and what seeds their draws are hashed; what they are scored by is not.
        weights: digest of the parameters.
        settings: JSON values: how texts are written, and what else decides an answer.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, request, weights, settings], sort_keys=True).encode())
    for example in examples:
        targets = () if request != "score" or example.targets is None else example.targets
        parts = (
            np.asarray(example.inputs, np.int64).tobytes(),
            json.dumps([example.options, example.example_id, example.template_id]).encode(),
            np.asarray(targets, np.int64).tobytes(),
        )
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:16]


def _read_line(line: bytes) -> list[Entry] | None:
    """The entries of a line; ``None`` where it is damaged."""
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    form, entries = json.loads(body.decode("utf-8", "surrogatepass"))
    return [(key, index, answer) for key, index, answer in entries] if form == _FORMAT else []


def _from_first(content: bytes) -> bytes:
    """Returns what the first process gives, in all of them."""
    if jax.process_count() == 1:
        return content
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.zeros(length, np.uint8)
    if jax.process_index() == 0:
        padded[:] = np.frombuffer(content, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8).tobytes() if length else b""
