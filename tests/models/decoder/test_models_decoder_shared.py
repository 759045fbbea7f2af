"""Prompts whose beginning is computed once give what whole prompts give: logits, and every step behind them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep
from test_models_decoder import KINDS, close, model, some_tokens

from flan_jax.models import build

SHARED = 5
LENGTHS = np.array([12, 9, 8, 0])


@pytest.mark.parametrize("name", with_deep(["gpt2", "gemma3", "unread start"], ["llama", "gemma2", "olmo2"]))
def test_logits_and_steps_are_those_of_whole_prompts(name):
    _, graph, params = model(**KINDS.get(name, {"reads_start": False}))
    tokens = some_tokens((4, 12))
    tokens[:, :SHARED] = tokens[0, :SHARED]
    tokens[:, 0] = 0  # what a row begins with
    tokens[1, 9:], tokens[2, 8:] = 0, 0
    read = jax.jit(lambda params, *rest: build.merge(graph, params).prefill(tokens, LENGTHS, 3, *rest))
    step = jax.jit(lambda params, *rest: build.merge(graph, params).decode_step(*rest))
    whole, shared = read(params), read(params, jnp.asarray(tokens[0, :SHARED]))
    close(whole.logits[:3], shared.logits[:3])
    assert shared.cache.first[:3].tolist() == [0, 3, 4]
    caches, following = [whole.cache, shared.cache], some_tokens((4,), seed=1)
    for _ in range(3):
        (one, first), (other, second) = (step(params, cache, following) for cache in caches)
        close(one[:3], other[:3])
        caches = [first, second]


def test_a_prefix_model_and_one_with_a_prompt_share_nothing():
    _, graph, params = model(prefix_lm=True)
    prefix = build.merge(graph, params)
    assert not prefix.shares_prompts
    with pytest.raises(AssertionError, match="other keys and values"):
        prefix.prefill(some_tokens((2, 8)), np.array([8, 8]), 1, jnp.arange(4))
