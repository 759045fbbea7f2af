"""The generation arguments of the harness's tasks as settings of decoding: each is honored or refused by name."""

from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, did_you_mean
from flan_jax.eval.decoding.config import DecodingConfig

MAX_TOKENS = 256
"""Of an answer where a task does not say, as in the harness's own backends."""
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the same limit; of several the first counts, as in the harness."""
_DRAWING = ("temperature", "top_k", "top_p")
_OF_BEAMS = ("length_penalty", "early_stopping")
# Arguments of transformers that change nothing of the tokens that are written here.
_NO_EFFECT = ("use_cache", "pad_token_id", "eos_token_id", "cache_implementation")
_KNOWN = ("until", "do_sample", "num_beams", "repetition_penalty", "min_new_tokens", "min_gen_toks", "max_length", *_LIMITS, *_DRAWING)  # fmt: skip


def decoding_config(
    given: Mapping[str, Any], *, folder: Mapping[str, Any], seed: int, decoder_only: bool
) -> DecodingConfig:
    """Makes the settings that a request asks for: greedy unless it says ``do_sample``, a temperature or ``num_beams``.

    Args:
        given: the request's arguments, by the names of the harness and of transformers' ``generate``.
        folder: settings of the model's own folder, where the request does not say otherwise; draws it does not choose.
        seed: of what is drawn.
        decoder_only: a prompt and its continuation are one sequence.

    Raises:
        UserError: an argument that is not known, or out of range.
    """
    given = {name: value for name, value in given.items() if name not in _NO_EFFECT}
    unknown = [name for name in given if name not in (*_KNOWN, *_OF_BEAMS)]
    if unknown:
        raise UserError(
            f"Generation argument {unknown[0]!r} is not honored by flan_jax.{did_you_mean(unknown[0], _KNOWN)} "
            f"It knows {', '.join((*_KNOWN, *_OF_BEAMS))}."
        )
    options = {name: value for name, value in folder.items() if name not in ("method", *_DRAWING, "stop")}
    options |= _method(given, options)
    options["max_length"] = _limit(given, decoder_only)
    for theirs, ours in (("repetition_penalty", "repetition_penalty"), ("min_new_tokens", "min_length"), ("min_gen_toks", "min_length")):  # fmt: skip
        if theirs in given:
            options[ours] = given[theirs]
    until = given.get("until") or []
    stops = [until] if isinstance(until, str) else list(until)
    options["stop"] = (*folder.get("stop", ()), *(stop for stop in stops if stop))
    options |= {"seed": seed} if options["method"] == "sample" else {}
    return DecodingConfig(**options)


def _method(given: Mapping[str, Any], folder: Mapping[str, Any]) -> dict[str, Any]:
    """The way of writing; settings of another one are left out, as the harness leaves them out."""
    temperature = float(given.get("temperature") or 0.0)
    drawn = given.get("do_sample")
    if drawn or (drawn is None and temperature > 0):
        if temperature <= 0:
            raise UserError(
                f"do_sample is {drawn!r} with temperature {temperature:g}. Give a temperature above 0, or leave do_sample out."
            )
        drawing = {name: given[name] for name in _DRAWING if given.get(name) is not None}
        if int(given.get("num_beams", 1)) != 1:
            raise UserError("num_beams searches for the likeliest answer, and do_sample draws one. Give one of them.")
        return {"method": "sample", "beams": 1, "length_penalty": 1.0, "early_stopping": False, **drawing}
    beams = int(given.get("num_beams", folder.get("beams", 1)))
    if beams == 1:
        return {"method": "greedy", "beams": 1, "length_penalty": 1.0, "early_stopping": False}
    return {"method": "beam", "beams": beams, **{name: given[name] for name in _OF_BEAMS if name in given}}


def _limit(given: Mapping[str, Any], decoder_only: bool) -> int:
    chosen = [given[name] for name in _LIMITS if given.get(name) is not None]
    length = given.get("max_length")
    if length is None:
        return int(chosen[0]) if chosen else MAX_TOKENS
    if decoder_only:
        raise UserError(
            f"max_length={length} counts the prompt too, and prompts of one batch differ in length. Give max_gen_toks: tokens of the answer."
        )
    return int(length) - 1  # of a decoder's row, whose first token is no answer
