"""Published data sets: on the Hugging Face hub, in TFDS's catalogue, or in a local folder of JSON lines.

A machine without a network names a folder once (``--gin.SOURCE_DIR``, or FLAN_JAX_SOURCE_DIR).
A published task that has a folder in it, ``TASK`` or ``CLUSTER/TASK``, is then read from
``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` there and from nowhere else.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flan_jax.data.sources.base import SPLITS, digest
from flan_jax.data.sources.hash_shuffled import HashShuffledFile, HashShuffledSlice
from flan_jax.data.sources.holdback import HoldbackSplit
from flan_jax.data.sources.hub import HubSource, hf
from flan_jax.data.sources.json_files import JsonSource, jsonl
from flan_jax.data.sources.split_names import split_name
from flan_jax.errors import UserError
from flan_jax.tasks.source import NumberedRecord, Source

SOURCE_DIR_VARIABLE = "FLAN_JAX_SOURCE_DIR"
TRAIN_LIMIT = 30_000
"""FLAN trains on the first 30,000 examples of a task at most."""
VALIDATION_LIMIT = 200
"""FLAN validates on 200 examples: of the validation split, or of the end of the training split."""

_SLICE = re.compile(r"(?P<split>[\w.+-]+)(?:\[(?P<start>-?\d*):(?P<stop>-?\d*)\])?")
_chosen_source_dir: Path | None = None


def set_source_dir(path: str | Path | None) -> None:
    """Chooses the folder of local copies for this process; ``None`` goes back to the environment."""
    global _chosen_source_dir
    _chosen_source_dir = Path(path).expanduser() if path else None


def source_dir() -> Path | None:
    """Returns the folder of local copies: chosen, else FLAN_JAX_SOURCE_DIR, else none.

    Raises:
        UserError: it is named and not there.
    """
    named = os.environ.get(SOURCE_DIR_VARIABLE)
    folder = _chosen_source_dir or (Path(named).expanduser() if named else None)
    if folder is not None and not folder.is_dir():
        raise UserError(f"SOURCE_DIR {str(folder)!r} is not a folder. Name the folder that holds one folder a task.")
    return folder


@dataclasses.dataclass(frozen=True)
class PublishedSource(Source):
    """A published data set. See ``published``."""

    name: str
    config: str | None
    revision: str
    tfds: str
    parts: tuple[tuple[str, str], ...]
    sizes: tuple[tuple[str, int], ...]
    folders: tuple[str, ...]
    train_limit: int
    hash_shuffled: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that were named."""
        named = {split for split, _ in self.parts}
        return tuple(split for split in SPLITS if split in named)

    @property
    def is_published(self) -> bool:
        """It is."""
        return True

    def local(self) -> Path | None:
        """The folder that takes the place of the hub, if the user named one that has it."""
        root = source_dir()
        return None if root is None else _find(root, self.folders)

    def local_names(self) -> tuple[str, ...]:
        """Names that the folder may have, the task's own first."""
        return self.folders

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the records of ``split``, at most ``train_limit`` of them where it is ``train``.

        A record that cannot be read counts as one, so that the others are the same with it and without.

        Raises:
            UserError: as the source that is read: no such file, no network, no such data set.
        """
        source, part = self._source(split)
        return itertools.islice(source.read(part), self._limit(split))

    def _limit(self, split: str) -> int | None:
        return self.train_limit if split == "train" else VALIDATION_LIMIT if split == "validation" else None

    def _source(self, split: str) -> tuple[Source, str]:
        if split not in self.splits:
            raise UserError(f"{self.describe()} has no split {split!r}. It has: {', '.join(self.splits)}.")
        folder = self.local()
        if folder is not None:
            return _local_source(folder, self, split)
        hub = hf(self.name, self.config, revision=self.revision, **dict(self.parts))
        return (self._hash_shuffled(hub, split) if self.hash_shuffled else hub), split

    def _hash_shuffled(self, hub: HubSource, split: str) -> HubSource:
        match = _SLICE.fullmatch(dict(self.parts)[split])
        assert match is not None  # checked when it was made
        start, stop = _integer(match["start"]), _integer(match["stop"])
        order = HashShuffledSlice(f"{self.name} {match['split']}", start, stop, self._limit(split))
        return dataclasses.replace(hub, parts=((split, match["split"]),), order=order)

    def place(self, split: str, index: int) -> str:
        """Returns where record ``index`` stands."""
        source, part = self._source(split)
        return source.place(part, index) or f"{self.describe()}, split {split!r}, record {index}"

    def fingerprint(self, split: str) -> str:
        """Digest of the local file, or of name, configuration, revision and split expression."""
        source, part = self._source(split)
        return digest("published", source.fingerprint(part), self._limit(split))

    def origins(self) -> frozenset[str]:
        """The data set, and the names that it goes by in local folders."""
        return frozenset({origin(self.name, self.config), *map(_plain, self.folders)})

    def count(self, split: str) -> int | None:
        """The number of records of ``split`` as published, nothing being read; ``None`` if that is not known."""
        match = _SLICE.fullmatch(dict(self.parts).get(split, ""))
        size = dict(self.sizes).get(match["split"]) if match else None
        if match is None or size is None:
            return None
        start, stop, _ = slice(_integer(match["start"]), _integer(match["stop"])).indices(size)
        limit = self._limit(split)
        return max(0, stop - start) if limit is None else min(limit, max(0, stop - start))

    def size_hint(self, split: str) -> int | None:
        """Bytes of the local file; of the hub's nothing is known."""
        source, part = self._source(split)
        return source.size_hint(part)

    def describe(self) -> str:
        """Describes where it is published, and the local folder that takes its place."""
        config = f" ({self.config})" if self.config else ""
        tfds = f", in TFDS {self.tfds}" if self.tfds else ""
        folder = self.local()
        local = f", read from {str(folder)!r}" if folder is not None else ""
        return f"Hugging Face data set {self.name!r}{config}@{self.revision}{tfds}{local}"


def published(
    name: str,
    config: str | None = None,
    *,
    revision: str = "main",
    tfds: str = "",
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    sizes: Mapping[str, int] | None = None,
    folders: Sequence[str] = (),
    train_limit: int = TRAIN_LIMIT,
    hash_shuffled: bool = False,
) -> PublishedSource:
    """Makes a source of a published data set.

    Args:
        name: its name on the Hugging Face hub.
        config: the configuration there.
        revision: the hub's revision; ``refs/convert/parquet`` where the data set is a script, which
            ``datasets`` no longer runs.
        tfds: its name in TFDS's catalogue, ``""`` where it has none.
        train: the upstream split to train on, whole or a slice: ``"train"``, ``"train[:-200]"``.
        validation: as above.
        test: as above.
        sizes: upstream split → number of examples as published, so that rates are known before
            anything is downloaded.
        folders: the names that a local folder may have, the task's own first.
        train_limit: at most so many records are trained on.
        hash_shuffled: the hub has it sorted by its labels, so that splits, prefixes and tails are taken in a
            hashed order; of a local copy, too.

    Raises:
        UserError: no split, a split expression that is no slice, or no folder.
    """
    parts = tuple((s, p) for s, p in zip(SPLITS, (train, validation, test), strict=True) if p is not None)
    if not parts:
        raise UserError(f"published({name!r}) names no split. Give train=, validation= or test=.")
    for split, part in parts:
        if not _SLICE.fullmatch(part):
            raise UserError(f"published({name!r}): {split}={part!r} must be a split or a slice such as 'train[:-200]'.")
    if not folders:
        raise UserError(f"published({name!r}) names no local folder. Give folders=(TASK,).")
    return PublishedSource(
        name, config, revision, tfds, parts, tuple((sizes or {}).items()), tuple(folders), train_limit, hash_shuffled
    )


_COLLECTIONS = {"glue", "superglue", "gem", "tweeteval"}
"""Names that gather data sets of others: the configuration is the data set."""
_MANY = {"wmt14", "wmt16", "paracrawl", "flores", "floresplus", "tatoebamt"}
"""Names whose configurations are different texts."""


def origin(name: str, config: str | None = None) -> str:
    """Normalizes a data set's name: without the user it is published by, case and punctuation.

    >>> origin("GLUE", "MNLI"), origin("rajpurkar/squad_v2"), origin("nyu-mll/glue", "rte")
    ('mnli', 'squadv2', 'rte')
    """
    plain = _plain(name.rpartition("/")[2])
    if not config or plain not in _COLLECTIONS | _MANY:
        return plain
    return _plain(config) if plain in _COLLECTIONS else f"{plain} {_plain(config)}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _integer(digits: str | None) -> int | None:
    return int(digits) if digits else None


def _find(root: Path, folders: tuple[str, ...]) -> Path | None:
    """``root/TASK`` or ``root/CLUSTER/TASK`` for the first name that is there."""
    for name in folders:
        found = [path for path in (root / name, *sorted(root.glob(f"*/{name}"))) if any(path.glob("*.jsonl"))]
        if len(found) > 1:
            raise UserError(f"SOURCE_DIR has two folders for {name!r}: {found[0]} and {found[1]}. Remove one.")
        if found:
            return found[0]
    return None


@dataclasses.dataclass(frozen=True)
class HeldTail(HoldbackSplit):
    """A training file whose last records validate, where no file of its own does.

    Attributes:
        file: has the split ``train``.
        held: so many records validate, a tenth at most.
    """

    file: JsonSource
    held: int

    @property
    def splits(self) -> tuple[str, ...]:
        """Both parts of the file."""
        return ("train", "validation")

    def divided(self, split: str) -> tuple[Source, str]:
        """The file."""
        return self.file, "train"

    def positions(self, split: str) -> range:
        """All up to the held ones, or these."""
        count = self.file.count("train")
        edge = count - min(self.held, count // 10)
        return range(edge) if split == "train" else range(edge, count)

    def fingerprint(self, split: str) -> str:
        """Digest of the file and of what is taken from it."""
        return digest("tail", self.file.fingerprint("train"), split, self.held)


def _local_source(folder: Path, source: PublishedSource, split: str) -> tuple[Source, str]:
    """The local file of a split. Without a file to validate on, the end of the training file is kept for it."""
    path, training = _file_of(folder, split), _file_of(folder, "train")
    apart = _file_of(folder, "validation").is_file() or "validation" not in source.splits
    shared = split in ("train", "validation") and not apart and training.is_file()
    if source.hash_shuffled and (shared or path.is_file()):
        part, held = ("train", VALIDATION_LIMIT) if shared else (split, 0)
        file = jsonl(**{part: (training if shared else path).absolute()})
        validates = shared and split == "validation"
        return HashShuffledFile(file, part, source.name, held, source._limit(split), validates), split
    if shared:
        return HeldTail(jsonl(train=training.absolute()), VALIDATION_LIMIT), split
    if not path.is_file():
        have = ", ".join(sorted(file.name for file in folder.glob("*.jsonl")))
        raise UserError(f"{str(path)!r} does not exist (there: {have}). Put the split there, or leave the task out.")
    return jsonl(**{split: path.absolute()}), split


def _file_of(folder: Path, split: str) -> Path:
    """``SPLIT.jsonl``, or else the one file whose name says that split, as ``dev.jsonl`` does.

    Raises:
        UserError: several files say it.
    """
    path = folder / f"{split}.jsonl"
    if path.is_file():
        return path
    said = [file for file in sorted(folder.glob("*.jsonl")) if split_name(file.stem).split == split]
    if len(said) > 1:
        names = " and ".join(file.name for file in said[:3])
        raise UserError(f"{folder} has several files for {split!r}: {names}. Write one, {path.name}.")
    return said[0] if said else path
