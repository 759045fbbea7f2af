"""What the files of a folder are: which tasks they make, which split of a task each is, and which are not used, and why.

Every source that looks at a folder asks here. The split is a word of the file's name, or of the folder's that it
lies in (``flan_jax.data.split_names``); ``data/`` and ``default/``, as the hub has them, are looked into, other
folders are not. Files that differ in their words of a split alone are one task: ``numbers_train.jsonl`` with
``numbers_test.jsonl``. Shards are one file in the order of their numbers. A folder that ``datasets`` saved says
itself what its files are.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from flan_jax.data.formats.names import stem_of, why_no_records
from flan_jax.data.sources import SPLITS, load_json
from flan_jax.data.split_names import CONFLICT, SplitName, of_both, split_name
from flan_jax.errors import UserError

_LOOKED_INTO = ("data", "default")
_DEEPEST = 8
_NUMBER_BEHIND = re.compile(r"(?P<rest>.*?)[-_.]?(?P<number>\d+)")
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"


@dataclasses.dataclass(frozen=True)
class Part:
    """The files of one task.

    Attributes:
        name: what their names share beside the split; ``""`` where the folder is one task.
        splits: split → its files, in order.
        named: whether their names say their splits.
    """

    name: str
    splits: Mapping[str, tuple[Path, ...]]
    named: bool = True


@dataclasses.dataclass(frozen=True)
class Unused:
    """A file or folder that is not read.

    Attributes:
        path: where it lies.
        reason: why it is not read.
    """

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True)
class FolderFiles:
    """What a folder holds.

    Attributes:
        parts: the tasks, those whose names say a split first.
        unused: what is not read.
    """

    parts: tuple[Part, ...]
    unused: tuple[Unused, ...]

    @property
    def trained(self) -> tuple[Part, ...]:
        """The parts that have something to train on."""
        return tuple(part for part in self.parts if "train" in part.splits)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    path: Path
    said: SplitName


def folder_files(
    folder: Path, readable: Callable[[Path], str] = why_no_records, *, together: bool = False
) -> FolderFiles:
    """Says what the files of ``folder`` are.

    Args:
        folder: the folder.
        readable: why a file's name says that it holds no records, ``""`` where it may hold some.
        together: the folder is one task, so that files whose names say no split are trained on in any case.

    Raises:
        UserError: a shard is missing, or two files are one split of one task.
    """
    saved = _saved(folder)
    if saved is not None:
        return saved
    unused: list[Unused] = []
    found = list(_candidates(folder, readable, unused, "", (), 0))
    named: dict[str, list[_Candidate]] = {}
    bare: dict[str, list[_Candidate]] = {}
    for candidate in found:
        if candidate.said.split == CONFLICT:
            unused.append(Unused(candidate.path, _two_splits(candidate.said)))
        else:
            group, own = (
                (named, "") if candidate.said.split else (bare, "" if candidate.said.shards else candidate.path.name)
            )
            group.setdefault(own or candidate.said.rest.lower(), []).append(candidate)
    parts = [_part(folder, group, unused) for group in named.values()]
    alone = [_joined(folder, "train", files) for files in bare.values()]
    parts, alone = _adopted(parts, alone)
    whole = next((part for part in parts if not part.name and "train" in part.splits), None)
    if whole is None or together:
        parts += [Part(stem_of(files[0]), {"train": files}, named=False) for files in alone]
    else:
        trained = whole.splits["train"][0].name
        why = f"its name says no split, and {trained} is what is trained on"
        unused += [Unused(path, why) for files in alone for path in files]
    return FolderFiles(tuple(parts), tuple(sorted(unused, key=lambda one: natural_order(one.path))))


def _two_splits(said: SplitName) -> str:
    if len(said.words) > 1:
        return f"its name says two splits at once ({' and '.join(map(repr, said.words))})"
    return (
        f"its name says {said.words[0]!r}, and its folder another split" if said.words else "its folders say two splits"
    )


def _candidates(
    folder: Path,
    readable: Callable[[Path], str],
    unused: list[Unused],
    split: str,
    rest: tuple[str, ...],
    depth: int,
) -> Iterator[_Candidate]:
    """The files that may hold records, in the order of their names; folders of a split are gone into."""
    for path in sorted(_entries(folder), key=natural_order):
        if path.is_dir() and not path.name.startswith("."):
            said = split_name(path.name)
            if depth < _DEEPEST and (split or said.split or path.name.lower() in _LOOKED_INTO):
                plain = path.name.lower() in _LOOKED_INTO
                own = () if plain else (said.rest,) if said.rest else ()
                yield from _candidates(path, readable, unused, of_both(split, said.split), (*rest, *own), depth + 1)
            elif count := sum(1 for _ in _records_below(path, readable, 0)):
                unused.append(
                    Unused(path, f"a sub-folder, with {count} file{'s' * (count > 1)} of records. Name it itself")
                )
            else:
                unused.append(Unused(path, "a sub-folder without a file of records"))
        elif why := readable(path):
            unused.append(Unused(path, why))
        elif not path.is_file():
            unused.append(Unused(path, "no file that can be read"))
        else:
            yield _Candidate(path, _within(split_name(stem_of(path)), split, rest))


def _within(said: SplitName, split: str, rest: tuple[str, ...]) -> SplitName:
    """What a file's name says, in a folder of a split."""
    if split and not said.split and said.shards is None and (found := _NUMBER_BEHIND.fullmatch(said.rest)):
        said = dataclasses.replace(said, rest=found["rest"], number=int(found["number"]))
    both = of_both(split, said.split)
    return dataclasses.replace(said, split=both, rest="_".join((*rest, said.rest) if said.rest else rest))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}). Allow it, or name another folder.") from error


def _records_below(folder: Path, readable: Callable[[Path], str], depth: int) -> Iterator[Path]:
    for path in _entries(folder):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if depth < _DEEPEST:
                yield from _records_below(path, readable, depth + 1)
        elif not readable(path):
            yield path


def natural_order(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Numbers in a name count as numbers: ``part2`` before ``part10``."""
    pieces = re.split(r"(\d+)", str(path))
    return tuple((1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces if piece)


def _part(folder: Path, files: Sequence[_Candidate], unused: list[Unused]) -> Part:
    """A task from the files that share the rest of their names."""
    by_split: dict[str, list[_Candidate]] = {}
    for candidate in files:
        by_split.setdefault(candidate.said.split, []).append(candidate)
    measured = by_split.get("test", [])
    weak = [candidate for candidate in measured if candidate.said.weak]
    if weak and len(weak) < len(measured):  # `eval` beside `test` is what one looks at in between
        by_split["test"] = [candidate for candidate in measured if not candidate.said.weak]
        if "validation" in by_split:
            taken = f"{by_split['test'][0].path.name} and {by_split['validation'][0].path.name} are what is measured"
            unused += [Unused(candidate.path, taken) for candidate in weak]
        else:
            by_split["validation"] = weak
    splits = {split: _joined(folder, split, by_split[split]) for split in SPLITS if split in by_split}
    return Part(files[0].said.rest, splits)


def _joined(folder: Path, split: str, files: Sequence[_Candidate]) -> tuple[Path, ...]:
    """The files of one split in the order of their numbers.

    Raises:
        UserError: a shard is missing, or files that are no shards of one another.
    """
    by_number = sorted(files, key=lambda one: -1 if one.said.number is None else one.said.number)
    for one, other in itertools.pairwise(by_number):
        numbers = (one.said.number, other.said.number)
        if None in numbers or numbers[0] == numbers[1] or one.said.shards != other.said.shards:
            first, second = sorted((one.path, other.path))
            raise UserError(
                f"{folder} has two files for {split!r}: {first.relative_to(folder)} and {second.relative_to(folder)}. Remove one."
            )
    shards = by_number[0].said.shards
    if shards is not None:
        there = {one.said.number for one in by_number}
        wanted = range(1, shards + 1) if shards in there else range(shards)
        if missing := [number for number in wanted if number not in there]:
            first = by_number[0].path
            shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise UserError(
                f"{first.parent}: {first.name} is one of {shards} files, and {len(missing)} of them "
                f"{'is' if len(missing) == 1 else 'are'} not there (number {shown}). Fetch what is missing."
            )
    return tuple(one.path for one in by_number)


def _adopted(parts: list[Part], alone: list[tuple[Path, ...]]) -> tuple[list[Part], list[tuple[Path, ...]]]:
    """``numbers.jsonl`` is what ``numbers_test.jsonl`` is held against, and a single file what ``test.jsonl`` is."""
    made = []
    for part in parts:
        same = [files for files in alone if stem_of(files[0]).lower() == part.name.lower()]
        if not part.name and len(alone) == 1 and len(parts) == 1:
            same = alone
        if "train" not in part.splits and len(same) == 1:
            alone = [files for files in alone if files is not same[0]]
            part = Part(part.name, {"train": same[0], **part.splits})
        made.append(part)
    return made, alone


def _saved(folder: Path) -> FolderFiles | None:
    """A folder of ``save_to_disk``: its own files say what it holds. ``None`` for another."""
    if (folder / _SAVED_SPLITS).is_file():
        content = load_json(folder / _SAVED_SPLITS)
        names = content.get("splits") if isinstance(content, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{folder / _SAVED_SPLITS} lists no 'splits'. Save the data set again.")
        return _saved_parts(folder, {name: _shards(folder / name) for name in names})
    if (folder / _SAVED).is_file() and (folder / "dataset_info.json").is_file():
        return FolderFiles((Part("", {"train": _shards(folder)}),), ())
    return None


def _saved_parts(folder: Path, files: Mapping[str, tuple[Path, ...]]) -> FolderFiles:
    named: dict[str, list[tuple[SplitName, tuple[Path, ...]]]] = {}
    unused: list[Unused] = []
    for name, own in files.items():
        said = split_name(name)
        if said.split == CONFLICT:
            unused.append(Unused(folder / name, "its name says two splits at once"))
        else:
            named.setdefault(said.rest.lower() if said.split else f"={name}", []).append((said, own))
    parts = []
    for group in named.values():
        splits: dict[str, tuple[Path, ...]] = {}
        weak_last = sorted(group, key=lambda one: one[0].weak)
        for said, own in weak_last:
            split = said.split or "train"
            if split in splits and said.weak and "validation" not in splits:
                split = "validation"
            if split in splits:
                raise UserError(
                    f"{folder} has two splits for {split!r}: {splits[split][0].parent.name} and {own[0].parent.name}."
                )
            splits[split] = own
        parts.append(Part(group[0][0].rest, {split: splits[split] for split in SPLITS if split in splits}))
    return FolderFiles(tuple(parts), tuple(unused))


def _shards(folder: Path) -> tuple[Path, ...]:
    """The Arrow files of a saved data set, in order.

    Raises:
        UserError: one of them, or the list of them, is missing.
    """
    if not (folder / _SAVED).is_file():
        raise UserError(f"{folder} is a part of a saved data set, but it has no {_SAVED}. Save the data set again.")
    content = load_json(folder / _SAVED)
    listed = content.get("_data_files") if isinstance(content, dict) else None
    names = [str(one.get("filename")) for one in listed or () if isinstance(one, dict)]
    if not names or any(name != Path(name).name for name in names):
        raise UserError(f"{folder / _SAVED} lists no data files. Save the data set again.")
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks {name!r}, which its {_SAVED} lists. Fetch or save the data set again.")
    return tuple(folder / name for name in names)
