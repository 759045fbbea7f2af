"""What every model offers: whole rows, prompts read once, and decoding token by token say the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.models import build
from flan_jax.models.ops import stack
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5, tiny_t5gemma

CONFIGS = {
    "t5": tiny_t5(decoder_start_id=3),
    "t5gemma": tiny_t5gemma(),
    "t5gemma2": tiny_t5gemma(2, eoi_id=None, bos_id=2),
    "decoder": tiny_decoder(num_layers=2),
}
PROMPTS, LENGTHS = np.array([[7, 8, 9, 5], [6, 5, 0, 0]], np.int32), np.array([4, 2], np.int32)
TARGETS = np.array([[3, 4, 11], [12, 3, 9], [5, 6, 7]], np.int32)
ROWS = np.array([0, 1, 1], np.int32)


def whole_rows(model) -> jax.Array:
    """The logits of each target's tokens, computed from the row that training would have."""
    found = []
    for row, target in zip(ROWS, TARGETS, strict=True):
        prompt = [*model.config.prompt_start, *PROMPTS[row, : LENGTHS[row]]]
        if model.config.decoder_only:
            tokens = np.array([[*prompt, *target[:-1]]], np.int32)
            found.append(model({"decoder_input_tokens": tokens})[0, len(prompt) - 1 :])
        else:
            inputs = {"encoder_input_tokens": np.array([prompt], np.int32)}
            before = np.array([[0, *target[:-1]]], np.int32)  # as rows of training have it
            found.append(model({**inputs, "decoder_input_tokens": before})[0])
    return jnp.stack(found)


def prompts(model) -> tuple[jax.Array, jax.Array]:
    start = np.array(model.config.prompt_start, np.int32)
    rows = np.concatenate([np.broadcast_to(start, (2, len(start))), PROMPTS], axis=1)
    return jnp.asarray(rows), jnp.asarray(LENGTHS + len(start))


@functools.cache
def logits_of_rows(kind) -> np.ndarray:
    return of_model(kind, whole_rows)


def of_model(kind, function):
    """What the function says of the model, compiled in one piece."""
    config = CONFIGS[kind]
    graphdef = build.abstract_model(config)[0]
    return jax.jit(lambda params: function(build.merge(graphdef, params)))(random_params(config))


@pytest.mark.parametrize("kind", CONFIGS)
def test_targets_behind_a_prompt_have_the_logits_of_the_whole_row(kind):
    def logits(model):
        context = model.prompt_context(*prompts(model), TARGETS.shape[1])
        return model.target_logits(context, jnp.asarray(ROWS), jnp.asarray(TARGETS))

    np.testing.assert_allclose(of_model(kind, logits), logits_of_rows(kind), atol=1e-4)


@pytest.mark.parametrize("unstacked", [False, True], ids=["stacked", "unstacked"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_decoding_has_the_logits_of_the_whole_row(kind, unstacked, monkeypatch):
    monkeypatch.setattr(stack, "UNSTACKED_BYTES", range(1, 2**40) if unstacked else range(0))

    def decoded(model):
        cache, last, logits = model.prefill(*prompts(model), TARGETS.shape[1])
        cache = model.unstack_layers(cache)
        layers = (model if model.config.decoder_only else model.decoder).layers
        assert isinstance(layers, nnx.List) == unstacked
        steps = []
        for step in range(TARGETS.shape[1]):
            if logits is None:
                logits, cache = model.decode_step(cache, last)
            steps.append(logits)
            logits, last = None, jnp.asarray(TARGETS[:2, step])
        return jnp.stack(steps, axis=1)

    # The first two targets follow the two prompts.
    np.testing.assert_allclose(of_model(kind, decoded), logits_of_rows(kind)[:2], atol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_head_makes_logits_of_the_hidden_states(kind):
    config = CONFIGS[kind]
    model = build.merge(build.abstract_model(config)[0], random_params(config))
    names = ["decoder_input_tokens", *([] if config.decoder_only else ["encoder_input_tokens"])]
    batch = {name: np.array([[3, 4, 5]], np.int32) for name in names}
    of_hidden, whole = jax.jit(lambda: (model.head()(model.hidden(batch)), model(batch)))()
    np.testing.assert_array_equal(of_hidden, whole)
    assert jax.tree.structure(
        build.logical_axes(config), is_leaf=lambda leaf: isinstance(leaf, tuple)
    ) == jax.tree.structure(build.abstract_params(config))


def test_what_a_tokenizer_puts_in_front_is_read():
    assert tiny_t5().with_start_token(5, True) == tiny_t5()
    assert tiny_t5().row_start_id is None
    assert tiny_decoder().with_start_token(5, None).row_start_id == 5
    assert tiny_decoder().with_start_token(5, False).row_start_id is None
    started = tiny_t5gemma().with_start_token(5, None)
    assert (started.prompt_start, started.input_start, started.row_start_id) == ((5,), (5,), 5)
    for bos_id, reads in ((5, False), (None, None)):
        assert tiny_t5gemma().with_start_token(bos_id, reads).prompt_start == ()
    # What takes a place of its own in a row of training: in a decoder's the shift has one.
    assert [config.with_start_token(5, None).input_start for config in (tiny_t5(), tiny_decoder())] == [(), ()]
