"""Decoding settings: greedy, sampling or beam search, as plain frozen data."""

import dataclasses
from typing import Annotated, Any, Literal

from flan_jax.errors import UserError
from flan_jax.typed import Above0, Natural, Positive, Range, Seed, check_fields, unread

Method = Literal["greedy", "sample", "beam"]

# Which settings mean something for one method only, and for which.
_METHODS_OF = {
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "beams": ("beam",),
    "length_penalty": ("beam",),
    "early_stopping": ("beam",),
}


@dataclasses.dataclass(frozen=True)
class DecodingConfig:
    """Settings of generation. The default is greedy: the most likely next token again and again.

    The meanings are those of transformers' ``generate``, so that settings can be carried over.

    Attributes:
        method: ``greedy``; ``sample`` draws each token; ``beam`` keeps the likeliest ``beams``
            beginnings at every step.
        temperature: of ``sample``: logits are divided by it. Below 1 the likely becomes likelier.
        top_k: of ``sample``: only the k likeliest tokens are drawn from; 0 for all.
        top_p: of ``sample``, after ``top_k``: only the likeliest tokens that together have this
            share of the probability are drawn from; 1 for all.
        beams: of ``beam``: how many beginnings are kept; 1 is ``greedy``, as there is nothing to choose between.
        length_penalty: of ``beam``: a finished text is worth its log-likelihood divided by its
            length to this power, EOS counted. Above 0 favours long texts, as log-likelihoods are
            negative.
        early_stopping: of ``beam``, when an example has as many finished texts as beams. ``True``
            ends it then; ``False`` ends it when no unfinished text of the present length is worth
            more; ``"never"`` when none of any possible length can be.
        max_length: the most tokens that are written, EOS included; ``None`` leaves it to whoever
            decodes, as a rule the target length of the run.
        min_length: so many tokens are written before EOS may be.
        repetition_penalty: logits of tokens that stand in the text already are divided by it where they are positive and
            multiplied where they are negative; 1 changes nothing. Of a decoder the prompt is part of the text.
        stop: writing ends where one of these stands, and it is cut off with what follows. Texts, or
            sequences of token ids. A text is looked for in what was written, so it does not matter
            how it was tokenised; ids are looked for as they stand. Whoever decodes ids alone, without
            a vocabulary, gives ids.
        seed: of ``sample``. A draw depends on the seed, the example and the place in the text alone.

    Raises:
        UserError: a value out of range, or one that the method does not read.
    """

    method: Method = "greedy"
    temperature: Above0 = 1.0
    top_k: Natural = 0
    top_p: Annotated[float, Range(above=0, at_most=1)] = 1.0
    beams: Positive = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    max_length: Positive | None = None
    min_length: Natural = 0
    repetition_penalty: Above0 = 1.0
    stop: tuple[str | tuple[int, ...], ...] = ()
    seed: Seed = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", _stops(self.stop))
        check_fields(self)
        for _, sentence in unread(self, "method", _METHODS_OF):
            raise UserError(sentence)
        if self.max_length is not None and self.min_length >= self.max_length:
            raise UserError(
                f"DecodingConfig.min_length={self.min_length} leaves no room for EOS: max_length is {self.max_length}. "
                "Let it be larger."
            )

    def compiled_part(self) -> "DecodingConfig":
        """Returns the settings that a compiled loop depends on; seed and stop sequences are its arguments."""
        return dataclasses.replace(self, seed=0, stop=(), max_length=None)


def _stops(given: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(given, str):
        raise UserError(f"DecodingConfig.stop={given!r} must be a tuple of texts. Write ({given!r},).")
    stops: list[str | tuple[int, ...]] = []
    for stop in given if isinstance(given, (tuple, list)) else (given,):
        if not isinstance(stop, str):
            stop = tuple(stop) if isinstance(stop, (tuple, list)) else (stop,)
            if any(isinstance(token, bool) or not isinstance(token, int) or token < 0 for token in stop):
                raise UserError(f"DecodingConfig.stop has {stop!r}: give texts, or sequences of token ids.")
        if not stop:
            raise UserError(
                "DecodingConfig.stop has an empty entry, which would stop before the first token. Leave it out."
            )
        stops.append(stop)
    return tuple(stops)


GREEDY = DecodingConfig()
"""The most likely next token again and again."""
