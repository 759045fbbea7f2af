"""Vocabularies by name, and those of published tokenizers by their files (``load_vocabulary``)."""

import functools
from collections.abc import Callable
from pathlib import Path

from flan_jax.data.sources.base import resolve
from flan_jax.data.tokenizers.base import as_vocabulary
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.catalog import Registry

_FILES = "Or give a tokenizer's folder, its tokenizer.json, or a SentencePiece *.model file."
VOCABULARIES: Registry[Callable[[], Vocabulary]] = Registry("vocabulary", _FILES)


def register_vocabulary(name: str, factory: Callable[[], Vocabulary]) -> None:
    """Registers a vocabulary under a name; ``factory()`` builds it when ``load_vocabulary(name)`` is called."""
    VOCABULARIES.add(name, factory)


register_vocabulary("bytes", ByteVocabulary)


def load_vocabulary(spec: str | Path) -> Vocabulary:
    """Loads the vocabulary of a registered name, or of the files of a published tokenizer.

    These are a folder, such as a model of Hugging Face's, a ``tokenizer.json``, or a SentencePiece
    ``*.model``. A relative path is looked for in the working directory, then in the data folder.
    Each vocabulary but SentencePiece's is built once a process.

    Raises:
        UserError: neither a name nor a readable tokenizer.
    """
    name = str(spec)
    if name in VOCABULARIES:
        return _build(VOCABULARIES.get(name))
    path = Path(name).expanduser()
    path = path if path.exists() else resolve(path)
    if name and path.is_dir():
        return _load_folder(path)
    looks_like_path = isinstance(spec, Path) or name.endswith((".model", ".json")) or "/" in name or "\\" in name
    if not looks_like_path and not path.is_file():
        raise unknown("vocabulary", name, VOCABULARIES, remedy=_FILES)
    if path.suffix == ".json":
        from flan_jax.data.tokenizers.hf_tokenizer import load_hf_tokenizer

        return load_hf_tokenizer(path)
    if not path.suffix and not path.exists():
        raise UserError(f"Vocabulary {name!r}: {str(path)!r} does not exist. Name a folder or file that does.")
    return SentencePieceVocabulary(path)


def _load_folder(folder: Path) -> Vocabulary:
    from flan_jax.data.tokenizers.hf_tokenizer import load_hf_tokenizer
    from flan_jax.data.tokenizers.hf_tokenizer_files import SENTENCEPIECE, find_tokenizer_file, named_tokens

    found = find_tokenizer_file(folder)
    if found.name not in SENTENCEPIECE:
        return load_hf_tokenizer(folder)
    vocabulary = SentencePieceVocabulary(found)
    end, named = vocabulary.piece(vocabulary.eos_id), named_tokens(folder).get("eos")
    if named not in (None, end):
        raise UserError(
            f"{str(folder)!r} ends a sequence with {named!r}, but its {found.name} with {end!r}, and there is no "
            "tokenizer.json that knows both. Write one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    return vocabulary


@functools.cache
def _build(factory: Callable[[], Vocabulary]) -> Vocabulary:
    return as_vocabulary(factory())
