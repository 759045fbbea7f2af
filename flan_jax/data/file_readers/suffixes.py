"""Tells a file's format by its ending, that of its compression taken off."""

from pathlib import Path

from flan_jax.data.file_readers.compressed import COMPRESSION_SUFFIXES, compression_of
from flan_jax.errors import UserError

SUFFIXES = (".jsonl", ".json", ".ndjson", ".tsv", ".csv", ".parquet", ".arrow")
_WHOLE = (".parquet", ".arrow")
_ABOUT_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


def suffix_of(path: Path) -> str:
    """Returns the ending that says how a file is written; of a compressed one, that before ``.gz``."""
    return (Path(path.stem) if compression_of(path) else path).suffix.lower()


def why_no_records(path: Path) -> str:
    """Says why a file holds no records by its name; ``""`` where it may hold some.

    >>> why_no_records(Path("a.jsonl.zst")), why_no_records(Path("notes.txt"))
    ('', "its ending '.txt' is none of a file of records")
    """
    if path.name.startswith("."):
        return "a hidden file"
    if path.name in _ABOUT_DATA:
        return "it describes a data set and holds none of it"
    if path.name.lower().startswith(("readme", "license", "licence")):
        return "a text about the data"
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or (suffix in _WHOLE and compression_of(path)):
        ending = "".join(Path(path.name).suffixes[-2:] if compression_of(path) else path.suffix)
        return f"its ending {ending!r} is none of a file of records" if ending else "its name has no ending"
    return ""


def is_data_file(path: Path) -> bool:
    """Tells whether a path is a file whose name says that it may hold records."""
    return not why_no_records(path) and path.is_file()


def unknown_suffix(path: Path) -> UserError:
    """Returns the error for a file of another ending."""
    return UserError(
        f"{path}: a file of records ends in one of {', '.join(SUFFIXES)}, "
        f"the text ones maybe with one of {', '.join(COMPRESSION_SUFFIXES)} behind."
    )
