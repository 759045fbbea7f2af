"""Reads the files of a published tokenizer as one description (``read_description``). Nothing in them is run.

A folder has ``tokenizer.json``, or GPT-2's pair of a vocabulary and merges, which becomes the same
description. What ends, begins and pads a sequence is declared beside it: as text in
``tokenizer_config.json`` and ``special_tokens_map.json``, as ids in ``generation_config.json`` and
``config.json``. The first of these that says it counts.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.data.sources.json_files import load_json
from flan_jax.errors import UserError

TOKENIZER = "tokenizer.json"
PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
SENTENCEPIECE = ("spiece.model", "tokenizer.model")
NAMED_IN = ("tokenizer_config.json", "special_tokens_map.json")
NUMBERED_IN = ("generation_config.json", "config.json")
_ADDED = "added_tokens.json"
FILES = (TOKENIZER, *(name for pair in PAIRS for name in pair), *NAMED_IN, *NUMBERED_IN, _ADDED)
"""The files that are read of a folder."""
_OF_SLOW_ONES = ("vocab.txt", "vocab.json", "encoder.json", "sentencepiece.bpe.model", "*.tiktoken", NAMED_IN[0])
_SAME_RULES = ("GPT2", "Roberta", "Bart", "Longformer", "LED")
"""Tokenizers of transformers that a pair of files is enough for: they cut a text as GPT-2's does."""
_PAIR_CONTROLS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>")


@dataclasses.dataclass(frozen=True)
class Description:
    """A tokenizer as published.

    Attributes:
        name: a short name for people.
        where: the folder or file.
        content: as ``tokenizer.json`` has it.
        named: the text of special tokens by what they do: ``eos``, ``bos``, ``pad``, …
        numbered: ids that configurations give for the same, the most telling first.
        special: texts that are declared special beside ``content``.
        adds_bos: what ``add_bos_token`` says, which counts before the rules of ``content``; ``None`` if nothing.
    """

    name: str
    where: Path
    content: dict[str, Any]
    named: Mapping[str, str]
    numbered: Mapping[str, tuple[int, ...]]
    special: frozenset[str]
    adds_bos: bool | None = None


def find_tokenizer_file(folder: Path) -> Path:
    """Finds the tokenizer of a folder: its ``tokenizer.json``, the folder for a pair, or a SentencePiece model.

    Raises:
        UserError: none of these.
    """
    if (folder / TOKENIZER).is_file():
        return folder / TOKENIZER
    if any(all((folder / name).is_file() for name in pair) for pair in PAIRS):
        return folder
    for name in SENTENCEPIECE:
        if (folder / name).is_file():
            return folder / name
    pairs = " or ".join(" with ".join(pair) for pair in PAIRS)
    slow = sorted(path.name for pattern in _OF_SLOW_ONES for path in folder.glob(pattern))
    remedy = (
        f"It has {', '.join(slow)} of a tokenizer that only transformers reads: write its {TOKENIZER} once, with "
        "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        if slow
        else "Name the folder that a tokenizer was saved in."
    )
    raise UserError(
        f"{str(folder)!r} has no tokenizer: no {TOKENIZER}, no {pairs}, no {' or '.join(SENTENCEPIECE)}. {remedy}"
    )


def read_description(path: Path) -> Description:
    """Reads a folder or a ``tokenizer.json``; a JSON file of another name is read by itself.

    Raises:
        UserError: no such file, or one that is not what its name says.
    """
    whole = path.is_dir() or path.name == TOKENIZER
    folder = path if path.is_dir() else path.parent
    found = find_tokenizer_file(path) if path.is_dir() else path
    if found.name in SENTENCEPIECE:
        raise UserError(f"{str(folder)!r} has no {TOKENIZER} but a SentencePiece model. Name that: {str(found)!r}.")
    configs = [_load_object(folder / name) for name in NAMED_IN] if whole else []
    content = _pair(folder, configs[0]) if found.is_dir() else _load_object(found, must=True)
    if not isinstance(content.get("model"), dict) or not isinstance(content["model"].get("vocab"), dict | list):
        raise UserError(f"{str(found)!r} describes no tokenizer: it has no 'model' with a 'vocab'. Name a {TOKENIZER}.")
    more = _load_object(folder / _ADDED) if whole else {}
    content = {**content, "added_tokens": _added_tokens(content.get("added_tokens"), configs, more)}
    named = _tokens_by_role(configs)
    special = {*named.values(), *(text for config in configs for text in _listed(config))}
    numbered = _ids_by_role(folder) if whole else {}
    return Description(
        name=folder.resolve().name if whole else path.stem,
        where=path,
        content=content,
        named=named,
        numbered=numbered,
        special=frozenset(special),
        adds_bos=next((c["add_bos_token"] for c in configs if isinstance(c.get("add_bos_token"), bool)), None),
    )


def named_tokens(folder: Path) -> dict[str, str]:
    """Reads the texts of a folder's special tokens by role: ``eos``, ``bos``, ``pad``."""
    return _tokens_by_role([_load_object(folder / name) for name in NAMED_IN])


def _tokens_by_role(configs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    named: dict[str, str] = {}
    for config in configs:
        for key, value in config.items():
            if key.endswith("_token") and (text := _text(value)):
                named.setdefault(key.removesuffix("_token"), text)
    return named


def _load_object(path: Path, *, must: bool = False) -> dict[str, Any]:
    """Reads a JSON object; an empty one for a file that is not there."""
    if not path.is_file():
        if must:
            raise UserError(f"Cannot read the tokenizer {str(path)!r}: no such file. Name a folder or a {TOKENIZER}.")
        return {}
    content = load_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: a {type(content).__name__} where an object is expected. Correct the file.")
    return content


def _text(value: Any) -> str:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def _listed(config: Mapping[str, Any]) -> Iterator[str]:
    for key in ("additional_special_tokens", "extra_special_tokens"):
        value = config.get(key) or ()
        yield from filter(None, map(_text, value.values() if isinstance(value, dict) else value))


def _added_tokens(own: Any, configs: list[dict[str, Any]], more: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Collects the added tokens: those of the description, then those of the configurations alone, by id."""
    tokens = {token["content"]: dict(token) for token in own or () if isinstance(token, dict) and _text(token)}
    beside: list[tuple[int, dict[str, Any]]] = []
    for config in configs:
        decoder = config.get("added_tokens_decoder")
        for index, token in decoder.items() if isinstance(decoder, dict) else ():
            if _text(token) and str(index).isdecimal():
                beside.append((int(index), token if isinstance(token, dict) else {"content": token}))
    beside += [(index, {"content": text}) for text, index in more.items() if isinstance(index, int)]
    for index, token in sorted(beside, key=lambda pair: pair[0]):
        known = tokens.setdefault(token["content"], {"id": index, **token})
        known["special"] = bool(known.get("special") or token.get("special"))
    return list(tokens.values())


def _ids_by_role(folder: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name in NUMBERED_IN:
        config = _load_object(folder / name)
        inner = config.get("text_config")
        for part in (config, inner if isinstance(inner, dict) else {}):
            for kind in ("eos", "bos", "pad"):
                value = part.get(f"{kind}_token_id")
                ids = tuple(i for i in (value if isinstance(value, list) else [value]) if type(i) is int and i >= 0)
                found[kind] = (*found.get(kind, ()), *ids)
    return found


def _pair(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Reads GPT-2's two files as the description that they stand for."""
    first, second = next(pair for pair in PAIRS if all((folder / name).is_file() for name in pair))
    vocab = _load_object(folder / first)
    kind = str(config.get("tokenizer_class") or _SAME_RULES[0])
    if not kind.startswith(_SAME_RULES) or not set(byte_letters()) <= vocab.keys():
        raise UserError(
            f"{str(folder)!r} has {first} and {second}, but not in GPT-2's manner"
            f"{f' ({kind})' if config.get('tokenizer_class') else ''}: how it cuts a text stands in a {TOKENIZER} only. "
            "Write that once with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    try:
        lines = (folder / second).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the merges {str(folder / second)!r} ({error}).") from error
    lines = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    if wrong := next((line for line in lines if line.count(" ") != 1), None):
        raise UserError(f"{folder / second}: the line {wrong!r} is no merge, two pieces with a space between them.")
    bytes_ = {"type": "ByteLevel", "trim_offsets": False, "use_regex": True}
    prefix = {"add_prefix_space": config.get("add_prefix_space") is True}
    return {
        "added_tokens": [
            {"id": vocab[text], "content": text, "special": True} for text in _PAIR_CONTROLS if text in vocab
        ],
        "normalizer": None,
        "pre_tokenizer": {**bytes_, **prefix},
        "post_processor": {**bytes_, **prefix},
        "decoder": {**bytes_, **prefix},
        "model": {"type": "BPE", "vocab": vocab, "merges": lines},
    }


def byte_letters() -> list[str]:
    """Returns the letter of each byte in byte-level BPE: itself where it prints, else one from U+0100 on."""
    prints = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (chr(0x100 + i) for i in range(256 - len(prints)))
    return [chr(byte) if byte in prints else next(others) for byte in range(256)]
