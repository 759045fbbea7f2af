"""Checksums of a checkpoint: written as part of its commit, compared before anything of it is read.

    DIRECTORY/STEP/checksums.json   of every other file of the step its size and its CRC-32

The file lies in the folder when that gets its name, so a checkpoint has its checksums or is not there. CRC-32 finds
every flipped byte and every burst of up to 32 bits, and is the fastest of the standard library: some four gigabytes a
second and core, of which SHA-256 has half and BLAKE2b a quarter. It is no protection against malice.
"""

import asyncio
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from orbax.checkpoint._src.path import atomicity

from flan_jax.files import atomic_write_text, synced

CHECKSUMS = "checksums.json"
MARK = "checksums"
"""Under this name the item `run` says that the step has checksums, so that they cannot go unnoticed."""
STEP = "step"
"""Under this name the item `run` says which step it is, since a folder can be given another name."""
ITEMS = ("state", "data", "run")
_FORMAT = 1
_ALGORITHM = "crc32"
_BLOCK = 1 << 22
_THREADS = 8  # zlib and reading let other threads run
_WRITTEN_LAST = "commit_success.txt"
"""Orbax writes it after the checksums; nobody reads what is in it."""


class SummedPath(atomicity.AtomicRenameTemporaryPath):
    """A folder of a step that orbax is writing; its files are summed and brought to the disk before it gets its name."""

    async def finalize(self) -> None:
        """Writes the checksums of a step (its items are folders in it, and need none), and renames it."""
        if self.get_final().name.isdecimal():
            store: Any = self._checkpoint_metadata_store  # type: ignore[has-type]
            if store is not None:
                # What orbax says of the step is complete now: it must not change once it is summed.
                await asyncio.to_thread(store.wait_until_finished)
                self._checkpoint_metadata_store = None
            await asyncio.to_thread(write_checksums, Path(os.fspath(self.get())))
        await super().finalize()


def write_checksums(folder: Path) -> None:
    """Writes the checksums of a step's files, each of which is on the disk afterwards."""
    names = _files(folder)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="checksums") as threads:
        files = dict(zip(names, threads.map(lambda name: _summed(folder / name, sync=True), names), strict=True))
    content = {"format": _FORMAT, "algorithm": _ALGORITHM, "files": files}
    atomic_write_text(folder / CHECKSUMS, json.dumps(content, indent=1) + "\n")
    for root, _, _ in os.walk(folder):
        synced(Path(root))


def read_checksums(folder: Path) -> dict[str, Any] | None:
    """File → size and checksum of a step; None where it has none, as one of an earlier version.

    Raises:
      ValueError: what is there is no list of checksums, or was there and is gone.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        if _says_it_has(folder):
            raise ValueError(f"{path} is missing")
        return None
    try:
        content = json.loads(path.read_bytes())
        files = content["files"]
        if (content["format"], content["algorithm"]) != (_FORMAT, _ALGORITHM) or not isinstance(files, dict):
            raise ValueError(f"format {content['format']!r}, algorithm {content['algorithm']!r}")
        for entry in files.values():
            int(entry["bytes"]), str(entry[_ALGORITHM])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no list of checksums ({type(error).__name__}: {error})") from error
    return files


def damage(folder: Path, share: tuple[int, int] = (0, 1), *, read: bool = True) -> str | None:
    """Says what is wrong with a step's files, in a few words; None where each is as it was written, or nobody can say.

    Args:
      folder: of the step.
      share: `(index, count)` of the processes that compare a share of the files each.
      read: compare the checksums, not only names and sizes.
    """
    try:
        files = read_checksums(folder)
    except (ValueError, OSError) as error:
        return str(error)
    if files is None:
        missing = [item for item in ITEMS if not (folder / item).is_dir()]
        return f"{folder / missing[0]} is missing" if missing else None
    for name in _files(folder):
        if name not in files and not os.path.basename(name).startswith("."):
            return f"{folder / name} is none of its files"
    for name, entry in files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            return f"{path} is missing"
        if size != entry["bytes"]:
            return f"{path} has {size} bytes in the place of {entry['bytes']}"
    own = [name for name in sorted(files) if read][share[0] :: share[1]]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="checksums") as threads:
        wrong = [line for line in threads.map(lambda name: _difference(folder / name, files[name]), own) if line]
    return wrong[0] if wrong else _other_step(folder)


def _files(folder: Path) -> Sequence[str]:
    """The files of a step but those that say whether it is whole, as paths below it."""
    found = [Path(root, name).relative_to(folder).as_posix() for root, _, names in os.walk(folder) for name in names]
    return sorted(name for name in found if name not in (CHECKSUMS, _WRITTEN_LAST))


def _summed(path: Path, *, sync: bool) -> dict[str, Any]:
    value = size = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            value, size = zlib.crc32(block, value), size + len(block)
    if sync:
        synced(path)
    return {"bytes": size, _ALGORITHM: f"{value:08x}"}


def _difference(path: Path, entry: Mapping[str, Any]) -> str | None:
    try:
        found = _summed(path, sync=False)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    wrong = found["bytes"] != entry["bytes"] or found[_ALGORITHM] != entry[_ALGORITHM]
    return f"{path} does not match its checksum" if wrong else None


def _other_step(folder: Path) -> str | None:
    """Says what shows that a folder has another step's name; None where it has its own, or says nothing."""
    saved = _run_item(folder).get(STEP)
    if saved is None or not folder.name.isdecimal() or int(folder.name) == saved:
        return None
    return f"{folder} holds step {saved}"


def _says_it_has(folder: Path) -> bool:
    """Tells whether the item `run` of a step says that there are checksums."""
    return bool(_run_item(folder).get(MARK))


def _run_item(folder: Path) -> Mapping[str, Any]:
    """The item `run` of a step; {} where it cannot be read."""
    try:
        content = json.loads((folder / "run" / "metadata").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
