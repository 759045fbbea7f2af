"""The tokenizer that weights were trained with: by the record of who wrote them, or by the files beside them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from flan_jax.data.tokenizers.hf_tokenizer_files import SENTENCEPIECE, TOKENIZER
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.model_snapshot import vocabulary_place
from flan_jax.experiments.run_folder import run_files


class VocabularyRecord(NamedTuple):
    """The tokenizer of a base.

    Attributes:
        name: for people.
        size: how many ids.
        fingerprint: of what it makes of text.
        place: where its files are; ``""`` where they are nowhere to be found.
    """

    name: str
    size: int
    fingerprint: str
    place: str


def base_vocabulary(folder: Path) -> VocabularyRecord | None:
    """Finds the tokenizer of the weights in a folder: as a run's manifest or an import's record has it, or by its files."""
    manifest = run_files.read_manifest(folder)
    if manifest is not None and manifest.get("vocabulary"):
        place = vocabulary_place(manifest["config"].get("vocabulary") or "", str(folder))
        return VocabularyRecord(**manifest["vocabulary"], place=place)
    record = folder / run_files.ORIGIN
    known = json.loads(record.read_text(encoding="utf-8")).get("vocabulary") if record.is_file() else None
    if known:
        return VocabularyRecord(**known, place=str(folder))
    if not has_tokenizer(folder):
        return None
    found = load_vocabulary(folder)
    return VocabularyRecord(found.name, found.size, found.fingerprint(), str(folder))


def has_tokenizer(folder: Path) -> bool:
    """Tells whether a tokenizer's files lie in a folder."""
    pair = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return pair or any((folder / name).is_file() for name in (TOKENIZER, *SENTENCEPIECE))


def vocabulary_record(vocabulary: Vocabulary) -> dict[str, Any]:
    """Describes a tokenizer for a manifest or an import's record."""
    return {"name": vocabulary.name, "size": vocabulary.size, "fingerprint": vocabulary.fingerprint()}


def tokenizer_record(folder: Path, rows: int) -> dict[str, Any]:
    """Describes the folder's tokenizer for the import's record; ``{}`` where there is none.

    Args:
        folder: with weights.
        rows: of the embedding.

    Raises:
        UserError: it has more tokens than the embedding has rows.
    """
    if not has_tokenizer(folder):
        return {}
    vocabulary = load_vocabulary(folder)
    if vocabulary.size > rows:
        raise UserError(
            f"The tokenizer in {str(folder)!r} has {vocabulary.size} tokens, but the model's embedding has "
            f"{rows} rows. Take the tokenizer that was saved with the weights."
        )
    return {"vocabulary": vocabulary_record(vocabulary)}
