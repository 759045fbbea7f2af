"""Opens compressed files by their endings: gzip, bzip2, xz, Zstandard."""

import bz2
import gzip
import io
import lzma
from pathlib import Path
from typing import Any

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
"""Endings behind that of the content; Parquet and Arrow compress within."""


def compression_of(path: Path) -> str:
    """Returns the ending that says how a file is compressed; ``""`` for none."""
    ending = path.suffix.lower()
    return ending if ending in COMPRESSION_SUFFIXES else ""


def stem_of(path: Path) -> str:
    """Returns a file's name without the endings of format and compression."""
    return Path(path.stem).stem if compression_of(path) else path.stem


def open_data(path: Path) -> Any:
    """Opens a file in binary mode, decompressed as it is read.

    Raises:
        OSError: as ``open``; while reading, from a damaged file. So are EOFError and lzma.LZMAError.
    """
    compression = compression_of(path)
    if compression == ".gz":
        return gzip.open(path)
    if compression == ".bz2":
        return bz2.open(path)
    if compression == ".xz":
        return lzma.open(path)
    if compression == ".zst":
        import pyarrow  # which brings Zstandard along; the standard library has it from Python 3.14 on

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


READ_ERRORS = (OSError, EOFError, lzma.LZMAError)
"""What reading a compressed file that was cut off raises."""
