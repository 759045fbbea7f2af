"""The manifest of a stored task: what it was made from, its totals, and its files with their checksums.

A task exists where its manifest does; the manifest is written last.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from flan_jax.errors import UserError
from flan_jax.store.arrow import Totals
from flan_jax.store.extras import Extra, as_json

ARROW_FILE = "data-00000-of-00001.arrow"
MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 1
REBUILD_HINT = "Run `flan-jax prepare --verify` to build it again."

_KEYS: Mapping[str, type] = {
    "name": str,
    "split": str,
    "fingerprint": str,
    "num_examples": int,
    "input_tokens": int,
    "target_tokens": int,
    "max_input_length": int,
    "max_target_length": int,
    "token_type": str,
    "files": dict,
}


class DamagedError(UserError):
    """A stored task is incomplete or corrupt, so it must be built again."""


def make_manifest(
    given: Mapping[str, Any],
    folder: Path,
    totals: Totals,
    *,
    name: str,
    split: str,
    fingerprint: str,
    extras: Mapping[str, Extra],
) -> dict[str, Any]:
    """Builds the manifest of the files in ``folder``: the caller's values, and what the store adds."""
    return {
        **given,
        "format": FORMAT_VERSION,
        "name": name,
        "split": split,
        "fingerprint": fingerprint,
        "num_examples": totals.examples,
        "input_tokens": totals.input_tokens,
        "target_tokens": totals.target_tokens,
        "max_input_length": totals.max_input_length,
        "max_target_length": totals.max_target_length,
        "token_type": totals.token_type,
        "extras": as_json(extras),
        "files": {
            file.name: {"bytes": file.stat().st_size, "blake2b": digest_of_file(file)}
            for file in sorted(folder.iterdir())
        },
    }


def encode_manifest(manifest: Mapping[str, Any]) -> bytes:
    """Encodes ``manifest.json``: the same bytes for equal values in any order."""
    return (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()


def parse_manifest(raw: bytes, where: str) -> dict[str, Any]:
    """Reads a manifest and checks that everything the store relies on is in it.

    Args:
        raw: its bytes.
        where: names the file in errors.

    Raises:
        DamagedError: it is not JSON, of another format, or lacks a value.
    """
    try:
        manifest = json.loads(raw)
    except ValueError as error:  # a cut file, or bytes that are not UTF-8
        raise DamagedError(f"Store file {where} is damaged (it is not JSON: {error}). {REBUILD_HINT}") from error
    if not isinstance(manifest, dict):
        raise DamagedError(f"Store file {where} is damaged (it is no JSON object). {REBUILD_HINT}")
    version = manifest.get("format")
    if version != FORMAT_VERSION:
        raise DamagedError(
            f"Store file {where} has the format {version!r}; this version reads {FORMAT_VERSION}. {REBUILD_HINT}"
        )
    for key, kind in _KEYS.items():
        if not isinstance(manifest.get(key), kind):
            raise DamagedError(f"Store file {where} is damaged (it has no valid {key!r}). {REBUILD_HINT}")
    files = manifest["files"]
    if ARROW_FILE not in files or not all(map(_is_file_entry, files, files.values())):
        raise DamagedError(f"Store file {where} is damaged (it has no valid 'files'). {REBUILD_HINT}")
    try:
        for kind in manifest.get("extras", {}).values():
            Extra(**kind)
    except (AttributeError, TypeError, UserError) as error:
        raise DamagedError(f"Store file {where} is damaged (it has no valid 'extras'). {REBUILD_HINT}") from error
    return manifest


def _is_file_entry(name: str, entry: Any) -> bool:
    """Tells whether it is a valid size and checksum of a file in the folder itself."""
    return (
        "/" not in name
        and os.sep not in name
        and isinstance(entry, dict)
        and isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("blake2b"), str)
        and re.fullmatch("[0-9a-f]{32}", entry["blake2b"]) is not None
    )


def check_size(where: str, entry: Mapping[str, Any], size: int) -> None:
    """Raises ``DamagedError`` for a file that is not as long as the manifest says."""
    if size != entry["bytes"]:
        raise DamagedError(
            f"Store file {where} has {size} bytes instead of {entry['bytes']}, "
            f"so it cannot have the checksum blake2b {entry['blake2b']}. {REBUILD_HINT}"
        )


def check_digest(where: str, entry: Mapping[str, Any], digest: str) -> None:
    """Raises ``DamagedError`` for a file whose bytes are not those that were written."""
    if digest != entry["blake2b"]:
        raise DamagedError(
            f"Store file {where} does not match its checksum (blake2b {digest} instead of {entry['blake2b']}). {REBUILD_HINT}"
        )


def digest_of(stream: IO[bytes]) -> str:
    """Hashes the rest of a stream: BLAKE2b of 128 bits, hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def digest_of_file(file: str | os.PathLike[str]) -> str:
    """Hashes a file of this machine, as ``digest_of`` does."""
    with open(file, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
