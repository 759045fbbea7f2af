"""Greedy decoding against the rate of the memory: what a token must read, over how long it takes."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bench_decode import bytes_of_a_token
from device.cases import LOWEST_TOKEN, drawn_params
from device.timing import device_target, seconds_a_call

from flan_jax.models import decoder_presets
from flan_jax.models.build import abstract_model, merge
from flan_jax.models.config import ModelConfig
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.models import tiny_decoder
from flan_jax.train.sharding import MeshConfig, make_partitioner

ALL_FROZEN = TuningConfig(lora_rank=1, frozen_dtype="bfloat16")
"""Weights in bfloat16, as a model that is only asked is kept."""


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    small = settings["small"]
    model: ModelConfig = (
        tiny_decoder(dtype="bfloat16") if small else decoder_presets.preset("llama3_2_1b", dtype="bfloat16")
    )
    prompt, tokens, budget = (8, 8, 0.3) if small else (128, 128, 3.0)
    target, source = device_target(small)
    partitioner = make_partitioner(MeshConfig(), devices=jax.devices()[:1])
    params = drawn_params(model, ALL_FROZEN, partitioner)
    report(prompt=prompt, tokens=tokens, bandwidth=target.bandwidth, peak_source=source)
    for rows in (1, 4) if small else (1, 64):
        prompts = np.random.default_rng(0).integers(LOWEST_TOKEN, model.vocab_size, (rows, prompt)).astype(np.int32)
        write = _writer(model, params, prompts, tokens)
        first, whole = (seconds_a_call(functools.partial(write, count), budget_s=budget) for count in (1, tokens))
        token_s = (whole["median"] - first["median"]) / (tokens - 1)
        needed = bytes_of_a_token(model, rows, prompt + tokens // 2)
        report(
            **{
                f"rows_{rows}": {
                    "first_s": first,
                    "whole_s": whole,
                    "token_s": token_s,
                    "tokens_per_s": rows / token_s if token_s > 0 else None,
                    "bytes_of_a_token": needed,
                    "bound_s": needed / target.bandwidth,
                    "bound_share": needed / target.bandwidth / token_s if token_s > 0 else None,
                }
            }
        )


def _writer(model: ModelConfig, params: Any, prompts: np.ndarray, longest: int) -> Callable[[int], Any]:
    """Returns a call that writes so many tokens behind each prompt; one program for all numbers of them."""
    graphdef = abstract_model(model)[0]

    @jax.jit
    def write(params: Any, prompts: Any, lengths: Any, count: Any) -> Any:
        network = merge(graphdef, params)
        state = network.prefill(prompts, lengths, longest)
        cache, logits = state.cache, state.logits
        if logits is None:
            logits, cache = network.decode_step(cache, state.last)

        def step(_: Any, carry: Any) -> Any:
            cache, token = carry
            logits, cache = network.decode_step(cache, token)
            return cache, jnp.argmax(logits, axis=-1).astype(jnp.int32)

        first = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return jax.lax.fori_loop(1, count, step, (cache, first))[1]

    given = jax.device_put((prompts, np.full(len(prompts), prompts.shape[1], np.int32)), jax.devices()[0])
    return lambda count: write(params, *given, count)
