"""The columns of a stored task, to Arrow and to Hugging Face ``datasets``.

``Sequence`` is the one name of a list that every release of that library reads.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flan_jax.store.extras import BYTES, EXTRA_PREFIX, Extra

NO_EXTRAS: Mapping[str, Extra] = {}


def features(token_type: str, extras: Mapping[str, Extra] = NO_EXTRAS) -> dict[str, Any]:
    """The columns in the encoding of Hugging Face ``datasets``, extras by name."""

    def value(dtype: str, rank: int = 0) -> dict[str, Any]:
        if rank:
            return {"feature": value(dtype, rank - 1), "_type": "Sequence"}
        return {"dtype": dtype, "_type": "Value"}

    return {
        "inputs": value(token_type, 1),
        "targets": value(token_type, 1),
        "example_id": value("int64"),
        "template_id": value("int32"),
        "options": value("string", 1),
        "references": value("string", 1),
        **{
            EXTRA_PREFIX + name: value("binary" if extra.dtype == BYTES else extra.dtype, extra.rank)
            for name, extra in sorted(extras.items())
        },
    }


def schema(token_type: np.dtype, extras: Mapping[str, Extra] = NO_EXTRAS) -> pa.Schema:
    """The columns in Arrow, in the order of ``features``."""
    return _schema(token_type.name, tuple(sorted(extras.items())))


@functools.lru_cache(maxsize=256)  # thousands of tasks share a few
def _schema(token_type: str, extras: tuple[tuple[str, Extra], ...]) -> pa.Schema:
    token = pa.from_numpy_dtype(np.dtype(token_type))
    metadata = {"huggingface": json.dumps({"info": {"features": features(token_type, dict(extras))}})}
    return pa.schema(
        [
            ("inputs", pa.list_(token)),
            ("targets", pa.list_(token)),
            ("example_id", pa.int64()),
            ("template_id", pa.int32()),
            ("options", pa.list_(pa.string())),
            ("references", pa.list_(pa.string())),
            *((EXTRA_PREFIX + name, extra.arrow_type()) for name, extra in extras),
        ],
        metadata=metadata,
    )


def write_dataset_files(
    folder: Path,
    arrow_name: str,
    token_type: str,
    *,
    split: str,
    fingerprint: str,
    extras: Mapping[str, Extra] = NO_EXTRAS,
    info: Mapping[str, Any],
) -> None:
    """Writes ``state.json`` and ``dataset_info.json``, by which ``datasets.load_from_disk`` knows the folder.

    Args:
        folder: where ``arrow_name`` lies.
        arrow_name: the file of examples.
        token_type: of its tokens.
        split: its split.
        fingerprint: by which that library names results it caches.
        extras: declared extras.
        info: further fields of ``dataset_info.json``.
    """
    state: dict[str, Any] = {
        "_data_files": [{"filename": arrow_name}],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    described = {
        "citation": "",
        "description": "",
        "features": features(token_type, extras),
        "homepage": "",
        "license": "",
        **info,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
