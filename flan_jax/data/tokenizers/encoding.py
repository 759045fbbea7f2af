"""Settings and marks that all vocabularies share: the number of encoding threads, and the ids that are text."""

import os
from collections.abc import Iterable

BEGIN, END = "\ufdd0", "\ufdd1"
"""Marks around what the assistant says, where a chat template marks it."""
GUARD = "\ufdd4"
"""Put behind the first character of what only looks like a special token, in a text whose special tokens are read.

Unicode keeps this character free for such a use; it is no part of the text.
"""
_PARALLEL = "TOKENIZERS_PARALLELISM"  # which the package `tokenizers` reads at every call

_threads = -1
_ours = False


def set_encoding_threads(threads: int) -> None:
    """Sets the number of threads that encode a batch in this process; -1 for one a core.

    Fast tokenizers know one thread, or one a core, or what ``RAYON_NUM_THREADS`` says when they are first used.
    """
    global _threads, _ours
    _threads = threads
    if threads == 1:
        _ours = _ours or _PARALLEL not in os.environ
        os.environ.setdefault(_PARALLEL, "false")
    elif _ours:
        os.environ.pop(_PARALLEL, None)
        _ours = False


def encoding_threads() -> int:
    """Returns the number of threads that encode a batch; -1, the default, for one a core."""
    return _threads


def content_ids(ids: Iterable[int], *, pad_id: int, eos_id: int) -> list[int]:
    """Cuts ids before the first end of sequence, and drops padding."""
    kept = []
    for token in map(int, ids):
        if token == eos_id:
            break
        if token != pad_id:
            kept.append(token)
    return kept
