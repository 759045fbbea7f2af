"""Parses the split out of a file's or folder's name: the words ``train``, ``dev``, ``test`` and the like as tokens of it.

The words are those of Hugging Face's ``datasets`` (``datasets.data_files.SPLIT_KEYWORDS``), ``holdout``, and WMT's
``newstest`` and ``newsdev``.
A word within another, as in ``latest`` or ``contrast``, says nothing. A name with words of two splits says
two things: nobody trains on it, and nobody measures it.
"""

import dataclasses
import re

CONFLICT = "conflict"
"""Of a name that says two splits."""

_WORDS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "validate", "val", "vld", "dev", "devel", "development", "newsdev"),
    "test": ("test", "testing", "tests", "tst", "devtest", "testdev", "newstest"),
}
_WEAK = ("eval", "evals", "evaluation", "holdout", "heldout", "hold_out", "held_out")
"""What is measured: the test split, but where a file says ``test`` the validation split if there is no other."""
_MEANING = {word: split for split, words in _WORDS.items() for word in words} | dict.fromkeys(_WEAK, "test")
_TOKENS = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NUMBERED = re.compile(r"(?P<word>.*?)(?P<number>\d+)")
_COMPOUND = re.compile(r"(.+?)(?:sets?|data|splits?)")
# As the hub has it: NAME-00000-of-00002, sometimes with a digest behind.
_SHARD = re.compile(r"(?P<stem>.*?)[-_.]?(?<!\d)(?P<number>\d+)[-_]of[-_](?P<of>\d+)(?:-[0-9a-f]{6,})?", re.IGNORECASE)
_NATURAL_INSTRUCTIONS = re.compile(r"(sub)?task\d+_", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class SplitName:
    """A parsed name.

    Attributes:
        split: ``train``, ``validation``, ``test``, ``CONFLICT``, or ``""`` where it names none.
        rest: the name without the words of a split and without its number, which files of one task share.
        words: the words that say the split.
        number: of a shard, or of one of several files; ``None`` where it has none.
        shards: of how many shards it is one; ``None`` where it does not say.
        weak: it says what is measured, but not which split of the two.
    """

    split: str
    rest: str
    words: tuple[str, ...] = ()
    number: int | None = None
    shards: int | None = None
    weak: bool = False


def split_name(stem: str) -> SplitName:
    """Parses a file's or folder's name, its endings taken off.

    >>> split_name("numbers_test").split, split_name("train_sft-00000-of-00002").rest, split_name("latest").split
    ('test', 'sft', '')
    >>> split_name("test_train").split, split_name("held-out").split, split_name("TrainData3").number
    ('conflict', 'test', 3)
    """
    number: int | None = None
    shards: int | None = None
    if found := _SHARD.fullmatch(stem):
        stem, number, shards = found["stem"], int(found["number"]), int(found["of"])
    if _NATURAL_INSTRUCTIONS.match(stem):  # "equity_evaluation_corpus" is what the task is made from
        return SplitName("", stem, (), number, shards)
    tokens = _joined([part for token in _TOKENS.findall(stem) for part in _parts(token)])
    meanings = [_meaning(token) for token in tokens]
    words = tuple(token for token, meaning in zip(tokens, meanings, strict=True) if meaning)
    if not words:
        return SplitName("", stem, (), number, shards)
    if number is None:
        number = _number_behind(tokens, words[-1])
        if number is not None and tokens[-1].isdigit():
            del tokens[-1], meanings[-1]
    rest = "_".join(token for token, meaning in zip(tokens, meanings, strict=True) if not meaning)
    weak = all(_plain(word) in _WEAK for word in words)
    return SplitName(combine_splits(*meanings), rest, words, number, shards, weak)


def combine_splits(*splits: str) -> str:
    """Combines the splits that several names say: what one calls training and one does not is in conflict.

    >>> combine_splits("", "train"), combine_splits("train", "test"), combine_splits("validation", "test")
    ('train', 'conflict', 'test')
    """
    said = {split for split in splits if split}
    if len(said) <= 1:
        return next(iter(said), "")
    return CONFLICT if said & {"train", CONFLICT} else "test"


def _number_behind(tokens: list[str], word: str) -> int | None:
    """The number right behind the last word of a split: ``train_3``, ``train3``."""
    if tokens[-1] == word:
        found = _NUMBERED.fullmatch(word)
        return int(found["number"]) if found else None
    return int(tokens[-1]) if tokens[-1].isdecimal() and tokens[-2:-1] == [word] else None


def _parts(token: str) -> list[str]:
    """A token, or its parts in camel case where one of them is a word of a split."""
    parts = [token] if _meaning(token) else _CAMEL.split(token)
    return parts if any(_meaning(part) for part in parts) else [token]


def _joined(tokens: list[str]) -> list[str]:
    """``held`` and ``out`` are one word."""
    joined: list[str] = []
    for token in tokens:
        if joined and _plain(f"{joined[-1]}_{token}") in _WEAK:
            joined[-1] = f"{joined[-1]}_{token}"
        else:
            joined.append(token)
    return joined


def _plain(token: str) -> str:
    """The word in a token such as ``testset``, ``traindata`` or ``test2017``."""
    word = token.lower()
    if word in _MEANING:
        return word
    if found := _NUMBERED.fullmatch(word):
        word = found["word"]
    found = _COMPOUND.fullmatch(word)
    return found[1] if word not in _MEANING and found and found[1] in _MEANING else word


def _meaning(token: str) -> str:
    return _MEANING.get(_plain(token), "")
