"""Text of requests as token ids, by the rules that the harness's own backend of Hugging Face models follows.

A text gets what the model's tokenizer puts around it: the token that begins a sequence where there is one, and in front of
an encoder the token that ends one. Special tokens that a text spells are read as such: chat templates write them.
"""

import re
from collections.abc import Iterable, Sequence

from flan_jax.data.tokenizers.protocol import Vocabulary, encode_with_special_tokens

Ids = tuple[int, ...]


class RequestTokenizer:
    """Encodes contexts and continuations, and decodes what was generated.

    Attributes:
        vocabulary: of the model.
        begin: ids in front of a text; none where the model reads none.
        end: ids behind a context; none where a continuation goes on with the same text.
        separate: a continuation is encoded by itself, not as the rest of one text.
        strips: a continuation that is encoded by itself begins without white space.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, begin: Ids = (), end: Ids = (), separate: bool = False, strips: bool = False
    ) -> None:
        self.vocabulary = vocabulary
        self.begin, self.end, self.separate, self.strips = begin, end, separate, strips
        special = vocabulary.special_tokens
        longest_first = sorted(special, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first))) if special else None
        # What ends a text stays: decoding stops there.
        self._unwritten = frozenset(special.values()) - {vocabulary.eos_id}

    @property
    def prefix_id(self) -> int:
        """The token that stands for an empty context: what begins a sequence, or where nothing does, what ends one."""
        bos_id = self.vocabulary.bos_id
        return self.begin[0] if self.begin else self.vocabulary.eos_id if bos_id is None else bos_id

    def encode(self, text: str, *, whole: bool = True) -> Ids:
        """Encodes one text, with what the tokenizer puts around it if it is a ``whole`` one."""
        return self.encode_all([text], whole=whole)[0]

    def encode_all(self, texts: Sequence[str], *, whole: bool = True) -> list[Ids]:
        """Encodes each text as ``encode`` does, those without special tokens in one call of the tokenizer."""
        plain = [text for text in texts if not self._spells_special(text)]
        encoded = iter(self.vocabulary.encode_batch(plain))
        found = [
            tuple(encode_with_special_tokens(self.vocabulary, text))
            if self._spells_special(text)
            else tuple(next(encoded))
            for text in texts
        ]
        return [self._around(ids) for ids in found] if whole else found

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Ids, Ids]]:
        """Encodes contexts, each with what continues it.

        White space at the end of a context is moved to the continuation, as tokens begin with it. Where both are one text,
        the continuation is what encoding the whole adds to the context's number of tokens. An empty context is
        ``prefix_id``.
        """
        moved = [self._space_moved(context, continuation) for context, continuation in pairs]
        contexts = list(dict.fromkeys(context for context, _ in moved if context))
        ids_of = dict(zip(contexts, self.encode_all(contexts), strict=True))
        alone = [self.separate or not context for context, _ in moved]
        seconds = [both[1] if by_itself else both[0] + both[1] for both, by_itself in zip(moved, alone, strict=True)]
        whole = iter(self.encode_all([text for text, one in zip(seconds, alone, strict=True) if not one]))
        rest = iter(self.encode_all([text for text, one in zip(seconds, alone, strict=True) if one], whole=False))
        found = []
        for (context, _), by_itself in zip(moved, alone, strict=True):
            if not context:
                found.append(self._behind_prefix(next(rest)))
            elif by_itself:
                found.append((ids_of[context], next(rest)))
            else:
                found.append((ids_of[context], next(whole)[len(ids_of[context]) :]))
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes what was generated, without special tokens, up to what ends a text."""
        return self.vocabulary.decode([index for index in ids if index not in self._unwritten])

    def _space_moved(self, context: str, continuation: str) -> tuple[str, str]:
        kept = context.rstrip()
        moved = context[len(kept) :] + continuation
        return kept, moved.lstrip() if self.strips and kept else moved

    def _spells_special(self, text: str) -> bool:
        return self._special is not None and self._special.search(text) is not None

    def _around(self, ids: Ids) -> Ids:
        begins = ids[: len(self.begin)] == self.begin  # a chat template may have written it
        return (*(() if begins else self.begin), *ids, *self.end)

    def _behind_prefix(self, ids: Ids) -> tuple[Ids, Ids]:
        if ids and ids[0] == self.prefix_id:
            return ids[:1], ids[1:]
        return (self.prefix_id,), ids
