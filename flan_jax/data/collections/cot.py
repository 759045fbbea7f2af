"""Sources over the chain-of-thought files of the FLAN 2022 collection: question, answer and reasoning (``cot_file``).

FLAN publishes nine files, ``NAME_train.tsv``, in ``flan/v2/cot_data``: three columns (question,
answer, rationale), no header, line breaks written as a backslash and an n. A user's copy of that
folder stands in the data folder as ``flan_cot``.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from flan_jax.data.sources.base import digest, file_digest, missing_data, resolve
from flan_jax.data.sources.holdback import HoldbackSplit
from flan_jax.errors import RecordError, UserError, unknown
from flan_jax.tasks.render import counter_hash
from flan_jax.tasks.source import NumberedRecord, Record, Source

FOLDER = "flan_cot"
COLUMNS = ("question", "answer", "rationale")
ROWS = {
    "aqua": 2_728,
    "creak": 6_915,
    "ecqa": 7_112,
    "esnli": 36_174,
    "gsm8k": 7_473,
    "qasc": 1_084,
    "qed": 5_154,
    "sensemaking": 6_070,
    "strategyqa": 2_061,
}
"""Rows of each file, as FLAN counts them."""

# What FLAN's file is made from, where that is another data set, by names without case and punctuation.
_MADE_FROM = {
    "aqua": ("aquarat",),
    "ecqa": ("commonsenseqa",),
    "esnli": ("snli",),
    "qed": ("naturalquestions", "nqopen"),
    "sensemaking": ("comve",),
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class CotFile(HoldbackSplit):
    """A source of one file's records. See ``cot_file``."""

    name: str
    max_validation: int = 200
    seed: int = 0

    @property
    def splits(self) -> tuple[str, ...]:
        """``train`` and ``validation``: the file is FLAN's training data, some of whose rows validate."""
        return ("train", "validation")

    def _path(self, split: str) -> Path:
        if split not in self.splits:
            raise UserError(f"{self.describe()} has no split {split!r}. It has: {', '.join(self.splits)}.")
        path = resolve(self._file)
        if not path.is_file():
            raise missing_data(self.describe(), path)
        return path

    @property
    def is_published(self) -> bool:
        """FLAN publishes it."""
        return True

    def local(self) -> Path | None:
        """Returns the file, where it is in the data folder."""
        path = resolve(self._file)
        return path if path.is_file() else None

    @property
    def _file(self) -> Path:
        return Path(FOLDER) / f"{self.name}_train.tsv"

    def divided(self, split: str) -> tuple[Source, str]:
        """Returns the stream of all rows of the file."""
        return _CotRows(self._path(split)), "train"

    def positions(self, split: str) -> Sequence[int]:
        """Returns the stream of the rows whose questions are drawn to validate on, or of all others."""
        held, rows = self._held(self._path(split))
        return sorted(held) if split == "validation" else [row for row in range(rows) if row not in held]

    def _held(self, path: Path) -> tuple[frozenset[int], int]:
        """Returns the positions of the rows that validate, and the number of rows of the file."""
        stat = path.stat()
        return _held_back(path, stat.st_size, stat.st_mtime_ns, self.max_validation, self.seed)

    def count(self, split: str) -> int:
        """Counts the rows, unreadable ones among them; as published where the file is not there."""
        path = resolve(self._file)
        if path.is_file():
            validation, rows = self._held(path)
            held = len(validation)
        else:
            rows = ROWS[self.name]
            held = _wanted(rows, self.max_validation)
        return held if split == "validation" else rows - held

    def fingerprint(self, split: str) -> str:
        """Digests the file's content and its division into splits; hexadecimal."""
        return digest("cot 1", file_digest(self._path(split)), split, self.max_validation, self.seed)

    def origins(self) -> frozenset[str]:
        """Names the data sets that it is made from: a task of the same records is not held out while this one is trained on."""
        return frozenset({self.name, *_MADE_FROM.get(self.name, ())})

    def describe(self) -> str:
        """Names the file and where FLAN publishes it."""
        return f"FLAN's chain-of-thought file {str(self._file)!r} (google-research/FLAN, flan/v2/cot_data)"


@dataclasses.dataclass(frozen=True)
class _CotRows(Source):
    """A stream of a file's rows in its order, as ``question``, ``answer`` and ``rationale``."""

    path: Path

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the rows; one that is not UTF-8, or not three filled columns, cannot be read."""
        for index, (number, line) in enumerate(_numbered(self.path)):
            record: Record | RecordError
            try:
                record = _record(line)
            except UserError as error:
                record = RecordError(f"{self.path}, line {number}{error}")
            yield index, record

    def place(self, split: str, index: int) -> str:
        """Names file and line of a row."""
        number, _ = next(itertools.islice(_numbered(self.path), index, None))
        return f"{self.path}, line {number}"

    def fingerprint(self, split: str) -> str:
        """Digests the file's content; hexadecimal."""
        return file_digest(self.path)

    def size_hint(self, split: str) -> int:
        """Returns the bytes of the file."""
        return self.path.stat().st_size


def cot_file(name: str, *, max_validation: int = 200, seed: int = 0) -> CotFile:
    """Makes a source over one of the nine files, in the folder ``flan_cot`` of the data folder.

    Args:
        name: a key of ``ROWS``.
        max_validation: at most so many rows validate, and never more than a tenth.
        seed: which rows those are.

    Raises:
        UserError: an unknown name or a negative limit.
    """
    if name not in ROWS:
        raise unknown("chain-of-thought file", name, ROWS)
    if max_validation < 0:
        raise UserError(f"Chain-of-thought file {name!r}: max_validation={max_validation} must be 0 or more.")
    return CotFile(name, max_validation, seed)


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the rows with the numbers of their lines, without blank lines."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            content = line.removeprefix(_BYTE_ORDER_MARK).rstrip(b"\r\n")
            if content.strip():
                yield number, content


@functools.lru_cache(maxsize=16)
def _held_back(path: Path, size: int, modified_ns: int, limit: int, seed: int) -> tuple[frozenset[int], int]:
    """Chooses the rows that validate by a hash of the question, so that equal questions are in one split."""
    asked: dict[bytes, list[int]] = {}
    rows = 0
    for _, line in _numbered(path):
        asked.setdefault(line.partition(b"\t")[0].strip(), []).append(rows)
        rows += 1
    drawn = iter(sorted(asked, key=lambda question: (counter_hash("cot", seed, question), question)))
    wanted = _wanted(rows, limit)
    held: set[int] = set()
    for question in drawn:
        if len(held) + len(asked[question]) > wanted:
            break
        held.update(asked[question])
    return frozenset(held), rows


def _wanted(rows: int, limit: int) -> int:
    return min(limit, rows // 10)


def _record(line: bytes) -> dict[str, str]:
    """Parses the record in a row. Error texts leave out the place."""
    try:
        values = line.decode().split("\t")
    except UnicodeDecodeError as error:
        raise UserError(f" is not UTF-8 text (byte {error.start + 1} of the line). Convert the file.") from error
    if len(values) != len(COLUMNS):
        raise UserError(
            f": {len(values)} column(s) instead of {len(COLUMNS)} ({', '.join(COLUMNS)}, a tab between them). "
            "Correct or remove the row."
        )
    record = {column: value.replace("\\n", "\n") for column, value in zip(COLUMNS, values, strict=True)}
    empty = next((column for column, value in record.items() if not value.strip()), None)
    if empty is not None:
        raise UserError(f": the {empty} is empty. Fill it in or remove the row.")
    return record
