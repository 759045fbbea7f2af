"""A vocabulary of any tokenizer of the package ``tokenizers``: ``tokenizer.json``, or GPT-2's pair of files.

A special token never comes from a text that spells it: every one gets a name of its own inside, with
a character that no text has. It ends or begins a sequence only where we say so. What counts as special
is what the tokenizer calls so; other tokens that were added to it, such as Gemma's runs of line ends,
are pieces like any.

Some tokenizers declare no padding, or pad with what ends a sequence. Rows here are told apart by their
lengths, so any id does that no text is encoded with. It is, in this order: the one declared; a special
token that is named for it, such as ``<pad>``; the piece of the byte 0xFF, which no UTF-8 text has (so
it is with GPT-2 and Llama); the token that begins a sequence; one more id behind the last.
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.data.sources.base import digest
from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.data.tokenizers.encoding import GUARD, content_ids
from flan_jax.data.tokenizers.hf_tokenizer_files import FILES, Description, byte_letters, read_description
from flan_jax.errors import UserError

# Characters that Unicode keeps free for such a use: one to name special tokens with, one to take its place in a text.
_MARK, _INSTEAD = "\ufdd5", "\ufffd"
_NAME = re.compile(f"{_MARK}([0-9]+){_MARK}")
_ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "<|eot_id|>", "[SEP]")
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>", "<PAD>")
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_BYTE_NAMES = [f"<0x{byte:02X}>" if byte >= 0x80 else chr(byte) for byte in range(256)]


class HfVocabulary(BaseVocabulary):
    """A vocabulary of a tokenizer of the package ``tokenizers``.

    Attributes:
        name: the folder's name.
        path: the folder or file.
        size: number of ids, that of padding counted.
        pad_id: see the top of this file.
        eos_id: ends a sequence.
        bos_id: begins one, where the tokenizer declares that; nothing here adds it.
        adds_bos: whether the tokenizer's own rules put it in front of a text.
        unk_id: the id of text that the model cannot spell, or ``None``.
        special_tokens: the id of every special token, T5's ``<extra_id_0>`` among them, by its text.
    """

    has_offsets = True

    def __init__(self, path: str | Path) -> None:
        """Reads a folder, or a ``tokenizer.json``; a JSON file of another name without what lies beside it.

        Raises:
            UserError: no tokenizer there, one that cannot be read, or no end-of-sequence token.
        """
        from tokenizers import Tokenizer

        self.path: Path = Path(path).expanduser().absolute()
        described = read_description(self.path)
        self.name = described.name
        ids = _piece_ids(described.content)
        special = _special(described, ids)
        self.eos_id: int = _find_eos(described, ids, special)
        self.bos_id: int | None = special.get(
            described.named.get("bos", ""), _first_special_id(described, "bos", special)
        )
        self.adds_bos: bool = self.bos_id is not None and _adds_bos(described, ids, self.bos_id)
        unknown = _find_unk(described.content["model"])
        pad = _find_pad(described, ids, special, self.eos_id, self.bos_id, unknown)
        count = max(ids.values()) + 1
        self.pad_id: int = count if pad is None else pad
        self.size: int = max(count, self.pad_id + 1)
        self.unk_id: int | None = None if unknown in (self.eos_id, self.pad_id) else unknown
        self.special_tokens: Mapping[str, int] = dict(sorted(special.items(), key=lambda item: item[1]))
        parts = {part: described.content.get(part) for part in _ENCODING}
        description = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        self._fingerprint = digest("tokenizers", description, sorted(special.items()), self.eos_id)
        self._texts = {index: text for text, index in special.items()}
        try:
            self._tokenizer: Any = Tokenizer.from_str(json.dumps(_rename_special_tokens(described.content, special)))
        except Exception as error:  # the package raises nothing narrower
            raise UserError(f"The tokenizer {str(path)!r} cannot be built: {error}.") from error
        self._check_ids(ids)
        self._bytes = _is_byte_level(described.content)
        words = {token["content"] for token in described.content["added_tokens"] if token.get("single_word")}
        found = [_pattern(text, text in words) for text in sorted(special, key=len, reverse=True)]
        self._special = re.compile(f"({'|'.join([*found, GUARD])})")

    def _check_ids(self, ids: Mapping[str, int]) -> None:
        made = self._tokenizer.get_vocab(True)
        for text, index in ids.items():
            name = _name(index) if index in self._texts else text
            if made.get(name) != index:
                raise UserError(
                    f"The tokenizer {str(self.path)!r} gives {text!r} the id {index}, but there it becomes {made.get(name)}. "
                    "Number the added tokens one by one behind the model's, or write the tokenizer again."
                )

    def encode(self, text: str) -> list[int]:
        """Encodes ``text``, without special ids."""
        return list(self._encode_all([text])[0].ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes each text, in one call into the library."""
        return [encoding.ids for encoding in self._encode_all(texts)]

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes each text, [length] int32."""
        return [np.array(encoding.ids, np.int32) for encoding in self._encode_all(texts)]

    def _encode_all(self, texts: Sequence[str]) -> list[Any]:
        # Without places, which cost time.
        return self._tokenizer.encode_batch_fast([_plain(text) for text in texts], add_special_tokens=False)

    def encode_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Encodes ``text``, special tokens in it read as such; returns ids and the characters of each.

        A special token with ``encoding.GUARD`` behind its first character is plain text.
        """
        inside, places = self._with_names(_plain(text))
        encoding = self._tokenizer.encode(inside, add_special_tokens=False)
        if places is None:
            return encoding.ids, encoding.offsets
        starts, ends = places
        return encoding.ids, [
            (int(starts[first]), int(ends[last]) if last > first else int(starts[first]))
            for first, last in encoding.offsets
        ]

    def _with_names(self, text: str) -> tuple[str, tuple[np.ndarray, np.ndarray] | None]:
        """Replaces special tokens by their names and drops guards; returns also where each character was before."""
        parts = self._special.split(text)
        if len(parts) == 1:
            return text, None
        inside: list[str] = []
        starts: list[np.ndarray] = []
        ends: list[np.ndarray] = [np.zeros(1, np.int64)]
        at = 0
        for number, part in enumerate(parts):
            after = at + len(part)
            if number % 2 == 0:
                inside.append(part)
                starts.append(np.arange(at, after))
                ends.append(np.arange(at, after) + 1)
            elif part != GUARD:
                inside.append(_name(self.special_tokens[part]))
                starts.append(np.full(len(inside[-1]), at))
                ends.append(np.full(len(inside[-1]), after))
            at = after
        starts.append(np.array([at]))
        return "".join(inside), (np.concatenate(starts), np.concatenate(ends))

    def pieces(self, text: str) -> list[str]:
        """Returns the piece of each id of ``encode(text)``, unknown pieces as in the text.

        Bytes of a character that is spelled with several pieces are written as ``<0xF0>``.
        """
        text = _plain(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        names = [_byte_level_text(token) if self._bytes else token for token in encoding.tokens]
        return [
            text[start:end] if index == self.unk_id else name
            for index, name, (start, end) in zip(encoding.ids, names, encoding.offsets, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes pieces; special tokens by their own text, but for the one that begins a sequence.

        An id behind the last reads as unknown, or as nothing where there is no such piece.
        """
        kept = content_ids(ids, pad_id=self.pad_id, eos_id=self.eos_id)
        known = [i if 0 <= i < self.size else self.unk_id for i in kept if i != self.bos_id]
        text = self._tokenizer.decode([i for i in known if i is not None], skip_special_tokens=False)
        return _NAME.sub(lambda found: self._texts[int(found[1])], text)

    def fingerprint(self) -> str:
        """Digests what the ids depend on: the description, which tokens are special, and the end of sequence."""
        return self._fingerprint

    def __reduce__(self) -> tuple[type["HfVocabulary"], tuple[Path]]:
        return HfVocabulary, (self.path,)


def load_hf_tokenizer(path: Path) -> HfVocabulary:
    """Loads the vocabulary of a folder or file, cached until its files change."""
    path = path.expanduser().absolute()
    read = [path / name for name in FILES] if path.is_dir() else [path, *(path.parent / name for name in FILES)]
    stats = [(file.name, file.stat()) for file in read if file.is_file()]
    return _load(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


@functools.lru_cache(maxsize=4)
def _load(path: Path, state: tuple[tuple[str, int, int], ...]) -> HfVocabulary:
    return HfVocabulary(path)


_ENCODING = ("added_tokens", "normalizer", "pre_tokenizer", "model")
"""Parts of a description that decide on ids."""


def _plain(text: str) -> str:
    return text.replace(_MARK, _INSTEAD) if _MARK in text else text


def _pattern(text: str, word: bool) -> str:
    return rf"(?<!\w){re.escape(text)}(?!\w)" if word else re.escape(text)


def _name(index: int) -> str:
    return f"{_MARK}{index}{_MARK}"


def _piece_ids(content: Mapping[str, Any]) -> dict[str, int]:
    """Returns the id of every piece, the model's before the added ones."""
    vocab = content["model"]["vocab"]
    try:
        pieces = dict(vocab) if isinstance(vocab, dict) else {piece: i for i, (piece, _) in enumerate(vocab)}
        return {**{str(token["content"]): int(token["id"]) for token in content["added_tokens"]}, **pieces}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"A tokenizer's pieces and added tokens need a text and an id each ({error!r}).") from error


def _special(described: Description, ids: Mapping[str, int]) -> dict[str, int]:
    # A single letter is never special, whatever pads with it: texts need it.
    called = {token["content"] for token in described.content["added_tokens"] if token.get("special")}
    unknown = _find_unk(described.content["model"])
    called |= described.special | {text for text, index in ids.items() if index == unknown}
    special = {text: ids[text] for text in called if text in ids and len(text) > 1}
    if not any(text in special for text in (*_ENDS, described.named.get("eos", ""))):
        special |= {text: ids[text] for text in _ENDS if text in ids}
    return special | {text: ids[text] for text in _PADS if text in ids} | _unused_byte(described.content, ids)


def _unused_byte(content: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, int]:
    """Returns the last byte's piece where bytes have written names: a text might spell this name."""
    fits = content["model"].get("byte_fallback") and set(_BYTES) <= ids.keys()
    return {_BYTES[-1]: ids[_BYTES[-1]]} if fits else {}


def _first_special_id(described: Description, kind: str, special: Mapping[str, int]) -> int | None:
    """Returns the first id that a configuration gives for a role and that is a special token's."""
    return next((index for index in described.numbered.get(kind, ()) if index in special.values()), None)


def _find_eos(described: Description, ids: Mapping[str, int], special: Mapping[str, int]) -> int:
    named = described.named.get("eos")
    if named is not None:
        if named in special:
            return special[named]
        raise UserError(
            f"The tokenizer {str(described.where)!r} ends a sequence with {named!r}, which is none of its {len(ids)} pieces. "
            "Correct eos_token in its tokenizer_config.json."
        )
    numbered = _first_special_id(described, "eos", special)
    found = numbered if numbered is not None else next((special[text] for text in _ENDS if text in special), None)
    if found is None:
        raise UserError(
            f"The tokenizer {str(described.where)!r} has no end-of-sequence token, which a target needs. "
            "Name one as eos_token in a tokenizer_config.json beside it."
        )
    return found


def _adds_bos(described: Description, ids: Mapping[str, int], bos_id: int) -> bool:
    """Tells whether a text begins with BOS: as ``add_bos_token`` says, else as the post-processor does."""
    if described.adds_bos is not None:
        return described.adds_bos
    for rule in _rules(described.content.get("post_processor")):
        first: Any = next(iter(rule.get("single") or ()), {})
        token = first.get("SpecialToken", {}).get("id") if isinstance(first, Mapping) else None
        named = rule.get("cls")
        if bos_id in (ids.get(token or ""), named[1] if isinstance(named, list) and len(named) == 2 else None):
            return True
    return False


def _find_unk(model: Mapping[str, Any]) -> int | None:
    if isinstance(model["vocab"], list):
        index = model.get("unk_id")
        return index if isinstance(index, int) else None
    return model["vocab"].get(model.get("unk_token"))


def _find_pad(
    described: Description,
    ids: Mapping[str, int],
    special: Mapping[str, int],
    eos_id: int,
    bos_id: int | None,
    unknown: int | None,
) -> int | None:
    """Finds the padding id by the rule at the top of this file; ``None`` for one more id."""
    by_letter = _is_byte_level(described.content) and set(byte_letters()) <= ids.keys()
    by_name = _unused_byte(described.content, ids)
    taken = {eos_id, None} if by_letter or by_name else {eos_id, unknown, None}
    unused = ids[byte_letters()[-1]] if by_letter else next(iter(by_name.values()), None)
    declared = special.get(described.named.get("pad", ""), _first_special_id(described, "pad", special))
    named = (special.get(text) for text in _PADS)
    return next((index for index in (declared, *named, unused, bos_id) if index not in taken), None)


def _rules(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yields a rule and those that it is a sequence of."""
    if isinstance(part, Mapping):
        yield part
        for key in ("normalizers", "pretokenizers", "processors"):
            for inner in part.get(key) or ():
                yield from _rules(inner)


def _is_byte_level(content: Mapping[str, Any]) -> bool:
    """Tells whether every byte of a text becomes a letter first, as in GPT-2 (byte-level BPE)."""
    rules = (rule for part in ("normalizer", "pre_tokenizer") for rule in _rules(content.get(part)))
    return any(rule.get("type") == "ByteLevel" for rule in rules)


def _rename_special_tokens(content: Mapping[str, Any], special: Mapping[str, int]) -> dict[str, Any]:
    """Makes the description to build from: special tokens renamed to what no text has, no truncation, padding or dropout."""
    names = {text: _name(index) for text, index in special.items()}
    model = dict(content["model"])
    vocab = model["vocab"]
    if isinstance(vocab, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocab]
        inside = {piece for piece, _ in vocab} & names.keys()
    else:
        model["vocab"] = {names.get(piece, piece): index for piece, index in vocab.items()}
        inside = vocab.keys() & names.keys()
    if "merges" in model:
        model["dropout"] = None
        if inside:
            model["merges"] = [merge for merge in model["merges"] if not inside & _merge_parts(merge)]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    # A name is found where it is written, before any normaliser, and never stands in a word.
    closed = {"single_word": False, "normalized": False}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = []
    for token in content["added_tokens"]:
        own = {**plain, **token, "special": token["content"] in names}
        added.append({**own, "content": names[own["content"]], **closed} if own["special"] else own)
    known = {token["content"] for token in added}
    added += [
        {**plain, "id": index, "content": _name(index)} for index in special.values() if _name(index) not in known
    ]
    return {
        "version": "1.0",
        **content,
        "model": model,
        "added_tokens": added,
        "post_processor": _offset_processor(content.get("post_processor")),
        "truncation": None,
        "padding": None,
    }


def _merge_parts(merge: Any) -> set[str]:
    left, _, right = merge.partition(" ") if isinstance(merge, str) else (merge[0], "", merge[1])
    return {left, right, left + right}


def _offset_processor(post_processor: Any) -> dict[str, Any] | None:
    """Keeps of the post-processor only whether a piece's offsets begin with the space before it."""
    for rule in _rules(post_processor):
        if rule.get("type") in ("ByteLevel", "RobertaProcessing"):
            own = {key: rule[key] for key in ("add_prefix_space", "trim_offsets", "use_regex") if key in rule}
            return {"add_prefix_space": True, "trim_offsets": True, "use_regex": True, **own, "type": "ByteLevel"}
    return None


@functools.cache
def _letter_bytes() -> dict[str, int]:
    return {letter: byte for byte, letter in enumerate(byte_letters())}


def _byte_level_text(token: str) -> str:
    """Decodes a byte-level piece; bytes that are no characters by themselves as ``<0xNN>``."""
    table = _letter_bytes()
    if any(letter not in table for letter in token):
        return token
    content = bytes(table[letter] for letter in token)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "".join(_BYTE_NAMES[byte] for byte in content)
