"""Files and splits that a folder declares itself: one that ``datasets`` saved, or one with a data set's card."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path

from flan_jax.data.file_readers.compressed import stem_of
from flan_jax.data.file_readers.dataset_card import CARD, Card, Config
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
from flan_jax.data.sources.base import SPLITS
from flan_jax.data.sources.json_files import load_json
from flan_jax.data.sources.split_names import CONFLICT, SplitName, split_name
from flan_jax.errors import UserError

_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"


def saved(folder: Path) -> FolderFiles | None:
    """Reads a folder of ``save_to_disk``, whose own files say what it holds; ``None`` for another."""
    if (folder / _SAVED_SPLITS).is_file():
        content = load_json(folder / _SAVED_SPLITS)
        names = content.get("splits") if isinstance(content, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{folder / _SAVED_SPLITS} lists no 'splits'. Save the data set again.")
        unused: list[Unused] = []
        parts = _named_parts(folder, {name: _shards(folder / name) for name in names}, unused)
        return FolderFiles(tuple(parts), tuple(unused))
    if (folder / _SAVED).is_file() and (folder / "dataset_info.json").is_file():
        return FolderFiles((FolderPart("", {"train": _shards(folder)}),), ())
    return None


def _named_parts(folder: Path, files: Mapping[str, tuple[Path, ...]], unused: list[Unused]) -> list[FolderPart]:
    """The tasks in files whose splits have names; a split whose name says nothing is trained on.

    Raises:
        UserError: two of them are one split of one task.
    """
    named: dict[str, list[tuple[SplitName, tuple[Path, ...]]]] = {}
    for name, own in files.items():
        said = split_name(name)
        if said.split == CONFLICT:
            paths = [folder / name] if (folder / name).is_dir() else own
            unused += [Unused(path, f"its split's name says two splits at once ({name})") for path in paths]
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
                both = sorted(name for name, files_of in files.items() if files_of in (splits[split], own))
                raise UserError(f"{folder} has two splits for {split!r}: {' and '.join(both)}. Keep one of them.")
            splits[split] = own
        parts.append(FolderPart(group[0][0].rest, {split: splits[split] for split in SPLITS if split in splits}))
    return parts


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


def unmatched_patterns(folder: Path, card: Card) -> list[Unused]:
    """Lists the patterns of a card that match no file, and what cannot be read of it."""
    reasons = [card.problem] if card.problem else []
    for config in card.configs:
        reasons += [
            f"it gives {pattern!r} to the split {split!r}, and no such file is there"
            for split, pattern in config.missing
        ]
    return [Unused(folder / CARD, reason) for reason in reasons]


def declared(folder: Path, card: Card, readable: Callable[[Path], str]) -> FolderFiles:
    """Assigns the files as the card does; what it gives to no split, or to one that is measured, is not trained on."""
    unused = unmatched_patterns(folder, card)
    taken: set[Path] = set()
    measured: set[Path] = set()
    for config in (*card.configs, *card.others):
        for name, groups in config.splits.items():
            if split_name(name).split not in ("", "train"):
                measured.update(path for paths in groups for path in paths)
    parts: list[FolderPart] = []
    for config in card.configs:
        files = {
            name: own for name in config.splits if (own := _own_files(config, name, readable, taken, measured, unused))
        }
        for part in _named_parts(folder, files, unused):
            several = config.name if len(card.configs) > 1 else ""
            parts.append(dataclasses.replace(part, name="_".join(filter(None, (several, part.name)))))
    kept = {path for part in parts for own in part.splits.values() for path in own}
    for other in card.others:
        reason = f"{CARD} has it in {other.name!r}, which is not the default one of its configurations"
        unused += [Unused(path, reason) for groups in other.splits.values() for paths in groups for path in paths]
    reasons = {(one.path, one.reason): one for one in unused if one.path not in kept}
    said = {path for path, _ in reasons} | kept | {folder / CARD}
    left = [*reasons.values(), *_told_by_none(folder, said, readable)]
    return FolderFiles(tuple(parts), tuple(sorted(left, key=lambda one: natural_sort_key(one.path))))


def _told_by_none(folder: Path, said: Set[Path], readable: Callable[[Path], str]) -> Iterator[Unused]:
    """The files of a folder that its card gives to no split; a folder without any of records counts as one."""
    for path in entries(folder):
        below = list(_files_below(path, 0)) if path.is_dir() else [path]
        if path.is_dir() and said.isdisjoint(below) and all(map(readable, below)):
            yield Unused(path, "a sub-folder without a file of records")
        else:
            for own in below:
                if own not in said:
                    yield Unused(own, readable(own) or f"{CARD} gives it to no split")


def _own_files(
    config: Config,
    name: str,
    readable: Callable[[Path], str],
    taken: set[Path],
    measured: set[Path],
    unused: list[Unused],
) -> tuple[Path, ...]:
    """The files of a split of a card that are read for it, in order; each is read for one split only."""
    trained = split_name(name).split in ("", "train")
    files: list[Candidate] = []
    for paths in config.splits[name]:
        for path in sorted(paths, key=natural_sort_key):
            if why := readable(path):
                unused.append(Unused(path, why))
            elif trained and path in measured:
                unused.append(Unused(path, f"{CARD} gives it to {name!r} and to a split that is measured"))
            elif path not in taken:
                taken.add(path)
                files.append(Candidate(path, split_name(stem_of(path))))
    if files and len({(one.path.parent, one.said.shards) for one in files}) == 1:
        check_complete(files)
    return tuple(one.path for one in files)


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """Every file below a folder, hidden folders left out."""
    for path in () if folder.name.startswith(".") else entries(folder):
        if path.is_dir():
            if depth < MAX_DEPTH:
                yield from _files_below(path, depth + 1)
        else:
            yield path
