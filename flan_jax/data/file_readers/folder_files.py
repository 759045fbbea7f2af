"""Assigns the files of a folder to tasks and splits, and says which are not used, and why.

Every source that looks at a folder asks here. The split is a word of the file's name, or of the folder's that it
lies in (``flan_jax.data.sources.split_names``); ``data/`` and ``default/``, as the hub has them, are looked into, other
folders are not. Files that differ in their words of a split alone are one task: ``numbers_train.jsonl`` with
``numbers_test.jsonl``. Shards are one file in the order of their numbers. A folder that ``datasets`` saved says
itself what its files are, and so does a data set's card that gives files to splits (``flan_jax.data.file_readers.dataset_card``).
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from flan_jax.data.file_readers.compressed import stem_of
from flan_jax.data.file_readers.dataset_card import read_card
from flan_jax.data.file_readers.folder_declarations import declared, saved, unmatched_patterns
from flan_jax.data.file_readers.folder_parts import (
    MAX_DEPTH,
    Candidate,
    FolderFiles,
    FolderPart,
    Unused,
    check_complete,
    entries,
    natural_sort_key,
)
from flan_jax.data.file_readers.suffixes import why_no_records
from flan_jax.data.sources.base import SPLITS
from flan_jax.data.sources.split_names import CONFLICT, SplitName, combine_splits, split_name
from flan_jax.errors import UserError

_LOOKED_INTO = ("data", "default")
_NUMBER_BEHIND = re.compile(r"(?P<rest>.*?)[-_.]?(?P<number>\d+)")


def folder_files(
    folder: Path, readable: Callable[[Path], str] = why_no_records, *, together: bool = False
) -> FolderFiles:
    """Assigns the files of ``folder`` to tasks and splits.

    Args:
        folder: the folder.
        readable: why a file's name says that it holds no records, ``""`` where it may hold some.
        together: the folder is one task, so that files whose names say no split are trained on in any case.

    Raises:
        UserError: a shard is missing, or two files are one split of one task.
    """
    of_its_own = saved(folder)
    if of_its_own is not None:
        return of_its_own
    card = read_card(folder)
    if any(config.splits for config in card.configs):
        return declared(folder, card, readable)
    unused: list[Unused] = []
    found = list(_candidates(folder, readable, unused, "", (), 0))
    if in_vain := unmatched_patterns(folder, card):
        unused = in_vain + [one for one in unused if one.path != in_vain[0].path]
    named: dict[str, list[Candidate]] = {}
    bare: dict[str, list[Candidate]] = {}
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
        parts += [FolderPart(stem_of(files[0]), {"train": files}, named=False) for files in alone]
    else:
        trained = whole.splits["train"][0].name
        why = f"its name says no split, and {trained} is what is trained on"
        unused += [Unused(path, why) for files in alone for path in files]
    return FolderFiles(tuple(parts), tuple(sorted(unused, key=lambda one: natural_sort_key(one.path))))


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
) -> Iterator[Candidate]:
    """The files that may hold records, in the order of their names; folders of a split are gone into."""
    for path in sorted(entries(folder), key=natural_sort_key):
        if path.is_dir() and not path.name.startswith("."):
            said = split_name(path.name)
            if depth < MAX_DEPTH and (split or said.split or path.name.lower() in _LOOKED_INTO):
                plain = path.name.lower() in _LOOKED_INTO
                own = () if plain else (said.rest,) if said.rest else ()
                yield from _candidates(
                    path, readable, unused, combine_splits(split, said.split), (*rest, *own), depth + 1
                )
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
            yield Candidate(path, _within(split_name(stem_of(path)), split, rest))


def _within(said: SplitName, split: str, rest: tuple[str, ...]) -> SplitName:
    """Returns what a file's name says, in a folder of a split."""
    if split and not said.split and said.shards is None and (found := _NUMBER_BEHIND.fullmatch(said.rest)):
        said = dataclasses.replace(said, rest=found["rest"], number=int(found["number"]))
    both = combine_splits(split, said.split)
    return dataclasses.replace(said, split=both, rest="_".join((*rest, said.rest) if said.rest else rest))


def _records_below(folder: Path, readable: Callable[[Path], str], depth: int) -> Iterator[Path]:
    for path in entries(folder):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if depth < MAX_DEPTH:
                yield from _records_below(path, readable, depth + 1)
        elif not readable(path):
            yield path


def _part(folder: Path, files: Sequence[Candidate], unused: list[Unused]) -> FolderPart:
    """A task from the files that share the rest of their names."""
    by_split: dict[str, list[Candidate]] = {}
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
    return FolderPart(files[0].said.rest, splits)


def _joined(folder: Path, split: str, files: Sequence[Candidate]) -> tuple[Path, ...]:
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
    check_complete(by_number)
    return tuple(one.path for one in by_number)


def _adopted(parts: list[FolderPart], alone: list[tuple[Path, ...]]) -> tuple[list[FolderPart], list[tuple[Path, ...]]]:
    """``numbers.jsonl`` is what ``numbers_test.jsonl`` is held against, and a single file what ``test.jsonl`` is."""
    made = []
    for part in parts:
        same = [files for files in alone if stem_of(files[0]).lower() == part.name.lower()]
        if not part.name and len(alone) == 1 and len(parts) == 1:
            same = alone
        if "train" not in part.splits and len(same) == 1:
            alone = [files for files in alone if files is not same[0]]
            part = FolderPart(part.name, {"train": same[0], **part.splits})
        made.append(part)
    return made, alone
