"""A prompt made of embeddings is the same as their tokens in front of the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep

from flan_jax.errors import UserError
from flan_jax.eval import scoring
from flan_jax.eval.decoding.generation import generate
from flan_jax.models.build import abstract_model, merge
from flan_jax.testing.models import random_batch, random_params, tiny_decoder, tiny_t5

TOKENS = np.array([7, 23, 11], np.int32)
T5 = tiny_t5()
DECODERS = {
    "llama": tiny_decoder(bos_id=5),
    "prefix": tiny_decoder(prefix_lm=True),
    "gpt2": tiny_decoder(norm="layer", position="learned", num_kv_heads=6, bos_id=5),
    "gemma2": tiny_decoder(sliding_window=4, window_pattern=(True, False), embed_scale=True, attention_softcap=5.0),
}


def models(config):
    """With the prompt, and without."""
    graphdef, _ = abstract_model(config)
    plain = random_params(config)
    return graphdef, {**plain, "prompt": plain["embedding"][TOKENS]}, plain


def with_tokens(ids, first=TOKENS):
    return np.concatenate([np.broadcast_to(first, (len(ids), len(first))), ids], axis=1)


def test_t5_reads_it_in_front_of_its_inputs():
    graphdef, prompted, plain = models(T5)
    batch = random_batch(T5)
    longer = {
        **batch,
        "encoder_input_tokens": with_tokens(batch["encoder_input_tokens"]),
        "encoder_segment_ids": with_tokens(batch["encoder_segment_ids"], np.ones(3, np.int32)),
    }
    run = jax.jit(lambda params, batch: merge(graphdef, params)(batch))
    expected = run(plain, longer)
    np.testing.assert_allclose(run(prompted, batch), expected, atol=1e-5)
    assert np.abs(run(plain, batch) - expected).max() > 0.1
    positions = np.broadcast_to(np.arange(9), (2, 9))
    encode = jax.jit(lambda positions: merge(graphdef, prompted).encode(batch["encoder_input_tokens"], None, positions))
    np.testing.assert_allclose(encode(positions), encode(None), atol=1e-5)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_reads_it_in_front_of_a_row(kind):
    config = DECODERS[kind]
    graphdef, prompted, plain = models(config)
    tokens = np.array([[0, 9, 8, 30, 31], [0, 40, 2, 3, 0]], np.int32)
    segments = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], np.int32)
    causal = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], np.int32)

    def batch(tokens, segments, causal):
        return {
            "decoder_input_tokens": tokens, "decoder_segment_ids": segments, "decoder_causal_attention": causal,
            "decoder_positions": np.arange(tokens.shape[1])[None] * np.ones_like(segments),
        }  # fmt: skip

    run = jax.jit(lambda params, batch: merge(graphdef, params)(batch))
    ones = np.ones(3, np.int32)
    given = tokens if config.bos_id is None else np.where(np.arange(5) == 0, config.bos_id, tokens)
    longer = batch(with_tokens(given), with_tokens(segments, ones), with_tokens(causal, ones))
    found, expected = run(prompted, batch(tokens, segments, causal)), run(plain, longer)[:, 3:]
    seen = segments.astype(bool)
    np.testing.assert_allclose(found[seen], expected[seen], atol=2e-5)
    without = {
        name: batch(tokens, segments, causal)[name] for name in ("decoder_input_tokens", "decoder_causal_attention")
    }
    np.testing.assert_allclose(run(prompted, without)[0], expected[0], atol=2e-5)


@pytest.mark.parametrize("kind", with_deep(["t5", "llama", "gemma2"], ["prefix", "gpt2"]))
def test_scores_and_texts_are_those_behind_its_tokens(kind):
    config = {"t5": T5, **DECODERS}[kind]
    graphdef, prompted, plain = models(config)
    prompts, lengths = np.array([[9, 8, 30, 31], [40, 2, 0, 0]], np.int32), np.array([4, 2], np.int32)
    longer = with_tokens(prompts)
    targets = np.array([[12, 13, 1], [14, 1, 0], [12, 1, 0]], np.int32)
    arguments = np.array([0, 1, 1], np.int32), targets, np.array([3, 2, 2], np.int32)

    def everything(params, tokens, lengths):
        context = scoring.prefill(params, tokens, lengths, graphdef=graphdef, longest=3)
        scores = scoring.target_scores(params, context, *arguments, graphdef=graphdef)
        return scores, generate(params, tokens, lengths, graphdef=graphdef, max_length=4)

    (scores, texts), (expected, expected_texts) = (
        everything(prompted, jnp.asarray(prompts), jnp.asarray(lengths)),
        everything(plain, jnp.asarray(longer), jnp.asarray(lengths + 3)),
    )
    np.testing.assert_allclose(scores, expected, atol=2e-4)
    np.testing.assert_array_equal(texts, expected_texts)


def test_it_counts_towards_learned_positions():
    config = tiny_decoder(norm="layer", position="learned", num_kv_heads=6, max_positions=6)
    graphdef, prompted, plain = models(config)
    tokens = np.ones((1, 4), np.int32)
    merge(graphdef, plain)({"decoder_input_tokens": tokens})
    with pytest.raises(UserError, match="A row of 7 tokens is longer than the 6 positions"):
        merge(graphdef, prompted)({"decoder_input_tokens": tokens})
    # What counts is the example, where the feed says so: here two tokens in a row of four.
    positions, segments = np.array([[0, 1, 0, 0]]), np.array([[1, 1, 0, 0]])
    known = {"decoder_input_tokens": tokens, "decoder_positions": positions, "decoder_segment_ids": segments}
    assert np.isfinite(merge(graphdef, prompted)(known)).all()
    with pytest.raises(UserError, match="A row of 8 tokens"):
        merge(graphdef, prompted).prefill(tokens, np.array([4]), 1)
