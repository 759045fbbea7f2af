"""Beam search: the likeliest W beginnings of each prompt are carried on together.

What is kept, when an example is done and what a text is worth are as in transformers' ``generate``. One
thing is stricter: an example that is done is left alone, so its company never changes its text.

Shapes: B prompts, W beams, R = B * W rows of the cache, C candidates of a prompt (W and as many for each
token that ends a text), T longest output, V vocabulary, N stop sequences of at most M tokens.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.decoding.filters import end_ids, is_end, mark_seen, mask_disallowed, penalize_repetition
from flan_jax.eval.decoding.state import repeat_rows, take_beams
from flan_jax.eval.decoding.stopping import stopped
from flan_jax.models.ops.rows import take_in_groups
from flan_jax.models.protocol import DecodeState, Model


class Hypotheses(NamedTuple):
    """Beam search hypotheses of each prompt, best first.

    Attributes:
        tokens: ids, padding behind the token that ended a text.
        scores: log-likelihood (nats) over the length to the power of the penalty; -inf where there is no text.
    """

    tokens: Int[Array, "B W T"]
    scores: Float[Array, "B W"]


class _Carry(NamedTuple):
    step: Int[Array, ""]
    cache: Any
    last: Int[Array, "R"]
    live: Hypotheses  # unfinished; scores are the plain log-likelihood
    finished: Hypotheses
    done: Bool[Array, "B"]
    seen: Bool[Array, "R V"] | None


def beam_search(
    model: Model,
    state: DecodeState,
    finished_B: Bool[Array, "B"],
    stops_NM: Int[Array, "N M"] | None,
    seen_BV: Bool[Array, "B V"] | None = None,
    *,
    decoding: DecodingConfig,
    max_length: int,
    vocabulary_size: int | None,
) -> Hypotheses:
    """Runs beam search: the best texts of each prompt, at most one a beam; the arguments are those of ``sample``."""
    config, beams, batch = model.config, decoding.beams, state.last.shape[0]
    ends = end_ids(config)

    def accept(carry: _Carry, logits_RV: Float[Array, "R V"]) -> tuple[_Carry, Int[Array, "B W"]]:
        # Forbidden tokens are left out after the softmax: what a text is worth stays its log-likelihood.
        steps_RV = mask_disallowed(
            penalize_repetition(jax.nn.log_softmax(logits_RV, axis=-1), carry.seen, decoding.repetition_penalty),
            carry.step,
            ends=ends,
            min_length=decoding.min_length,
            vocabulary_size=vocabulary_size,
        )
        vocabulary = steps_RV.shape[-1]
        steps_BWV = steps_RV.reshape(batch, beams, vocabulary)
        sums_BX = (steps_BWV + carry.live.scores[..., None]).reshape(batch, beams * vocabulary)
        # At most so many candidates of a beam are ends, so of one more for each beam enough go on.
        sum_BC, index_BC = jax.lax.top_k(sums_BX, min(1 + len(ends), vocabulary) * beams)
        parent_BC, token_BC = index_BC // vocabulary, (index_BC % vocabulary).astype(jnp.int32)
        tokens_BCT = _take(carry.live.tokens, parent_BC).at[:, :, carry.step].set(token_BC)
        ends_BC = is_end(token_BC, ends) | stopped(tokens_BCT, carry.step, stops_NM)
        ends_BC |= carry.step + 1 == max_length

        live = _best(Hypotheses(tokens_BCT, jnp.where(ends_BC, -jnp.inf, sum_BC)), beams)
        parent_BW = jnp.take_along_axis(parent_BC, live.rank, axis=1)

        # Candidates beyond the beams are there to go on, not to end.
        length = (carry.step + 1).astype(jnp.float32)
        ends_BC &= (jnp.arange(ends_BC.shape[1]) < beams) & ~carry.done[:, None]
        score_BC = jnp.where(ends_BC, sum_BC / length**decoding.length_penalty, -jnp.inf)
        finished = _best(
            Hypotheses(
                *(jnp.concatenate(pair, axis=1) for pair in zip(carry.finished, (tokens_BCT, score_BC), strict=True))
            ),
            beams,
        )

        last_R = jnp.take_along_axis(token_BC, live.rank, axis=1).reshape(-1)
        done_B = carry.done | _done(live.texts, finished.texts, carry.step + 1)
        seen_RV = mark_seen(None if carry.seen is None else take_in_groups(carry.seen, parent_BW), last_R)
        return _Carry(carry.step + 1, carry.cache, last_R, live.texts, finished.texts, done_B, seen_RV), parent_BW

    def _done(live: Hypotheses, finished: Hypotheses, length: Int[Array, ""]) -> Bool[Array, "B"]:
        full_B = (finished.scores > -jnp.inf).all(axis=1)
        if decoding.early_stopping is not True:
            longest = decoding.early_stopping == "never" and decoding.length_penalty > 0
            reach = jnp.float32(max_length) if longest else length.astype(jnp.float32)
            full_B &= live.scores[:, 0] / reach**decoding.length_penalty <= finished.scores.min(axis=1)
        return full_B | ~(live.scores > -jnp.inf).any(axis=1)  # or nothing is left to go on with

    def advance(carry: _Carry) -> _Carry:
        logits_RV, cache = model.decode_step(carry.cache, carry.last)
        carry, parent_BW = accept(carry, logits_RV)
        return carry._replace(cache=take_beams(cache, parent_BW))

    def unfinished(carry: _Carry) -> Bool[Array, ""]:
        return (carry.step < max_length) & ~carry.done.all()

    blank_BWT = jnp.full((batch, beams, max_length), config.pad_id, jnp.int32)
    none_BW = jnp.full((batch, beams), -jnp.inf, jnp.float32)
    first = _Carry(
        step=jnp.zeros((), jnp.int32),
        cache=repeat_rows(state.cache, beams),
        last=jnp.repeat(state.last, beams),
        # All beams begin alike: only the first counts, or every text would be found W times.
        live=Hypotheses(blank_BWT, none_BW.at[:, 0].set(0.0)),
        finished=Hypotheses(blank_BWT, none_BW),
        done=finished_B,
        seen=None if seen_BV is None else jnp.repeat(seen_BV, beams, axis=0),
    )
    if state.logits is not None:
        first, _ = accept(first, jnp.repeat(state.logits, beams, axis=0))  # the rows of a prompt are equal yet
    return jax.lax.while_loop(unfinished, advance, first).finished


class _Best(NamedTuple):
    texts: Hypotheses
    rank: Int[Array, "B W"]


def _best(texts: Hypotheses, count: int) -> _Best:
    score_BW, rank_BW = jax.lax.top_k(texts.scores, count)
    return _Best(Hypotheses(_take(texts.tokens, rank_BW), score_BW), rank_BW)


def _take(tokens_BCT: Int[Array, "B C T"], index_BW: Int[Array, "B W"]) -> Int[Array, "B W T"]:
    return jnp.take_along_axis(tokens_BCT, index_BW[..., None], axis=1)
