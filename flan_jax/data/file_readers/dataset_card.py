"""Reads data set cards: which files are which split, by ``configs`` at the head of a ``README.md``, as on the hub.

    configs:
    - config_name: default
      data_files:
      - split: train_sft
        path: data/train_sft-*
      - split: test
        path: [held_back.jsonl]

A card that gives files to splits decides, whatever the files are called. One that lists files without a split says
nothing of splits, and names decide. The keys are those of ``datasets`` (``datasets.utils.metadata.MetadataConfigs``).
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = "README.md"
_LONGEST = 1 << 20  # of a card that is looked at
_FENCE = "---"


@dataclasses.dataclass(frozen=True)
class Config:
    """One configuration of a card.

    Attributes:
        name: as the card has it.
        splits: split, as the card calls it → its files, as far as they are there, by pattern.
        missing: (split, pattern) pairs of which no file is there.
    """

    name: str
    splits: Mapping[str, tuple[tuple[Path, ...], ...]]
    missing: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Card:
    """A parsed card.

    Attributes:
        configs: those that are meant where none is named: the default one, or all of them.
        others: those beside the default one.
        problem: why what stands there is not followed; ``""`` where nothing is wrong.
    """

    configs: tuple[Config, ...] = ()
    others: tuple[Config, ...] = ()
    problem: str = ""


def read_card(folder: Path) -> Card:
    """Reads a folder's card; an empty one where there is none, or where it gives no file to a split."""
    try:
        stat = (folder / CARD).stat()
    except OSError:
        return Card()
    entries, problem = _configs(folder / CARD, stat.st_size, stat.st_mtime_ns)
    found = [(entry, config) for entry in entries if (config := _config(folder, entry)) is not None]
    first = [config for entry, config in found if entry.get("default") is True or config.name == "default"][:1]
    chosen = tuple(first or [config for _, config in found])
    return Card(chosen, tuple(config for _, config in found if config not in chosen), problem)


@functools.lru_cache(maxsize=64)
def _configs(path: Path, size: int, modified_ns: int) -> tuple[tuple[Mapping[str, Any], ...], str]:
    """The entries of ``configs``, and why they cannot be read."""
    head = _head(path)
    if not head:
        return (), ""
    import yaml  # only where it is asked for

    try:
        said = yaml.safe_load(head)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (), f"the YAML at its head cannot be read ({reason}), so names say what the files are"
    entries = said.get("configs") if isinstance(said, Mapping) else None
    return tuple(one for one in entries if isinstance(one, Mapping)) if isinstance(entries, list) else (), ""


def _head(path: Path) -> str:
    """Returns what stands between the first two lines of three dashes; ``""`` where a card has no such head."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            lines = file.read(_LONGEST).splitlines()
    except OSError:
        return ""
    if not lines or lines[0].rstrip() != _FENCE:
        return ""
    end = next((number for number, line in enumerate(lines[1:], start=1) if line.rstrip() == _FENCE), 0)
    return "\n".join(lines[1:end])


def _config(folder: Path, entry: Mapping[str, Any]) -> Config | None:
    """The files of a configuration; ``None`` where it gives none to a split."""
    given = _by_split(entry.get("data_files"))
    if not given:
        return None
    below = str(entry["data_dir"]).strip("/") + "/" if entry.get("data_dir") else ""
    splits: dict[str, tuple[tuple[Path, ...], ...]] = {}
    missing = []
    for split, patterns in given.items():
        found = [(pattern, _matching(folder, below + pattern)) for pattern in patterns]
        missing += [(split, below + pattern) for pattern, paths in found if not paths]
        if there := tuple(paths for _, paths in found if paths):
            splits[split] = there
    return Config(str(entry.get("config_name", "")), splits, tuple(missing))


def _by_split(data_files: Any) -> dict[str, list[str]]:
    """Split → patterns, where every entry names its split."""
    if isinstance(data_files, Mapping):
        pairs = list(data_files.items())
    elif isinstance(data_files, list) and all(isinstance(one, Mapping) and "split" in one for one in data_files):
        pairs = [(one["split"], one.get("path")) for one in data_files]
    else:
        return {}
    found: dict[str, list[str]] = {}
    for split, given in pairs:
        patterns = given if isinstance(given, list) else [given]
        found.setdefault(str(split), []).extend(one for one in patterns if isinstance(one, str) and one)
    return {split: patterns for split, patterns in found.items() if patterns}


def _matching(folder: Path, pattern: str) -> tuple[Path, ...]:
    """The files of the folder that a pattern names; what points out of it, or to another machine, is not there."""
    if "://" in pattern or pattern.startswith(("/", "~")) or ".." in Path(pattern).parts:
        return ()
    pattern = pattern.removeprefix("./")
    if (folder / pattern).is_file():  # which may have the marks of a pattern in its name
        return (folder / pattern,)
    try:
        return tuple(path for path in folder.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError):
        return ()
