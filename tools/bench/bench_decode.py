"""Measures greedy decoding, beside PyTorch with transformers, in turns in one process.

    python tools/bench/bench_decode.py --model decoder_100m --peer torch --batch 1 8 --json docs/benchmarks/decode_100m.json

Every system reads the same prompts and writes the same number of tokens, none of which ends a text. Of each number of
prompts, a result is the median of the rounds, with the least and the greatest.

    prefill_s      reading the prompts and writing the first token
    token_s        of one further token of all prompts: (a whole text - prefill_s) / (its tokens - 1)
    tokens_per_s   tokens that are written, without the first
    bound_s        what a token takes at least: bytes that must be read for it by the rate of the memory, which a sum
                   over a large array shows in the same rounds. Bytes are those of the parameters that a token needs and
                   of the keys and values of prompt and text, in the middle of the text.
    bound_share    bound_s / token_s
    faster_than    by which factor our token_s is shorter than each peer's
"""

import argparse
import dataclasses
import datetime
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _bench_machine import machine, versions

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from _bench_presets import PRESETS
from _bench_rounds import in_turns, log, reading, summary

from flan_jax.models.build import ModelConfig, abstract_model, abstract_params, init_model, merge
from flan_jax.models.t5.config import T5Config

System = tuple[Callable[[], Any], Callable[[], Any]]
"""Calls that write one token of every prompt, and that write all; both return when they are done."""


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    config = PRESETS[options.model].model
    if options.dtype:
        config = dataclasses.replace(config, dtype=options.dtype)
    on_gpu = jax.devices()[0].platform == "gpu"
    read, read_bytes = reading(2**32 if on_gpu else 2**28)
    result: dict[str, Any] = {
        "model": options.model,
        "config": dataclasses.asdict(config),
        "dtype": config.dtype,
        "prompt": options.prompt,
        "tokens": options.tokens,
        "seed": options.seed,
        "rounds": options.rounds,
        "date": datetime.date.today().isoformat(),
        "machine": machine() | {"device": jax.devices()[0].device_kind},
        "versions": versions("flan-jax", "jax", "jaxlib", *(["torch", "transformers"] if options.peer else [])),
        "batches": {},
    }
    params = init_model(config, jax.random.key(options.seed))[1]
    params = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf.astype(config.dtype), tree))(params)
    for batch in options.batch:
        prompts = np.random.default_rng(options.seed).integers(3, config.vocab_size, (batch, options.prompt))
        systems = {"flan_jax": _ours(config, params, prompts.astype(np.int32), options.tokens)}
        skipped = {}
        for cache in ("dynamic", "static") if options.peer else ():
            name = f"torch_{cache}"
            try:
                systems[name] = _torch(config, prompts, options, cache, "cuda" if on_gpu else "cpu")
            except Exception as error:  # a peer that does not run here must not take our measurement with it
                skipped[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                log(f"{name} does not run: {skipped[name]}")
        calls = {
            f"{name} {part}": call for name, both in systems.items() for part, call in zip("1n", both, strict=True)
        }
        seconds = in_turns({**calls, "memory": read}, options.rounds)
        rate = summary([read_bytes / taken for taken in seconds["memory"]])
        needed = bytes_of_a_token(config, batch, options.prompt + options.tokens // 2)
        found = {
            name: _speed(seconds[f"{name} 1"], seconds[f"{name} n"], batch, options.tokens, needed / rate["median"])
            for name in systems
        }
        own = found["flan_jax"]["token_s"]
        faster = {name: of["token_s"] / own for name, of in found.items() if name != "flan_jax"}
        result["batches"][str(batch)] = {
            **found, "memory_bytes_per_s": rate, "bytes_of_a_token": needed, "faster_than": faster, "skipped": skipped,
        }  # fmt: skip
    text = json.dumps(result, indent=1)
    if options.json is None:
        print(text)
        return
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n", encoding="utf-8")
    log(f"written to {options.json}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python tools/bench/bench_decode.py --model decoder_100m --peer torch --batch 1 8",
    )
    parser.add_argument("--model", choices=sorted(PRESETS), required=True)
    parser.add_argument("--peer", choices=["torch"], help="measure it too, with a growing and with a static cache")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64], help="prompts at once (default 1 and 64)")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt (default 128)")
    parser.add_argument("--tokens", type=int, default=64, help="that are written (default 64)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of parameters and products")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the result; standard output otherwise")
    options = parser.parse_args(arguments)
    if options.tokens < 2:
        parser.error("--tokens must be at least 2: the first is counted with the prompt")
    return options


def bytes_of_a_token(config: ModelConfig, batch: int, held: int) -> int:
    """What must be read of memory for one more token of every prompt.

    Args:
        config: of the model; everything is in its type.
        batch: prompts at once.
        held: tokens whose keys and values are remembered, the prompt's among them.
    """
    shapes = abstract_params(config)
    width = jnp.dtype(config.dtype).itemsize
    # A row of a table that is looked up is nothing; the table is read whole where it makes the logits.
    looked_up = 0 if config.tie_embeddings else shapes["embedding"].size
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes)) - looked_up
    if isinstance(config, T5Config):
        cross = shapes["decoder"]["layers"]["cross_attention"]
        size -= sum(leaf.size for leaf in jax.tree.leaves(shapes["encoder"])) + cross["k"].size + cross["v"].size
        cached = 2 * config.num_decoder_layers * held * config.d_heads  # of the inputs and of what is written
    else:
        size -= shapes["positions"].size if "positions" in shapes else 0
        cached = 2 * config.num_layers * held * config.d_kv_heads
    return width * (size + batch * cached)


def _ours(config: ModelConfig, params: Any, prompts: np.ndarray, tokens: int) -> System:
    graphdef = abstract_model(config)[0]
    lengths = np.full(len(prompts), prompts.shape[1], np.int32)

    def write(params: Any, prompts: Any, lengths: Any, count: int) -> Any:
        model = merge(graphdef, params)
        state = model.prefill(prompts, lengths, tokens)
        cache, first = state.cache, state.logits
        if first is None:
            first, cache = model.decode_step(cache, state.last)
        token = jnp.argmax(first, axis=-1).astype(jnp.int32)

        def step(carry: Any, _: None) -> Any:
            cache, token = carry
            logits, cache = model.decode_step(cache, token)
            token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
            return (cache, token), token

        # The first is returned too: nothing that was not asked for would be computed.
        return token, jax.lax.scan(step, (cache, token), None, length=count - 1)[1]

    compiled = jax.jit(write, static_argnums=3)
    on_device = jax.device_put((prompts, lengths))
    calls = tuple(
        lambda count=count: jax.block_until_ready(compiled(params, *on_device, count)) for count in (1, tokens)
    )
    for call in calls:
        call()
    return calls


def _torch(config: ModelConfig, prompts: np.ndarray, options: argparse.Namespace, cache: str, device: str) -> System:
    import torch
    from peers import peer_torch as peer

    model = peer.model_of(config, device=device, dtype=config.dtype).eval()
    given = torch.as_tensor(prompts, device=device).long()
    more = {} if cache == "dynamic" else {"cache_implementation": "static"}

    def write(count: int) -> None:
        with torch.inference_mode():
            model.generate(
                given, attention_mask=torch.ones_like(given), do_sample=False, use_cache=True, min_new_tokens=count,
                max_new_tokens=count, pad_token_id=0, **more,
            )  # fmt: skip
        peer.wait(device)

    calls = (lambda: write(1), lambda: write(options.tokens))
    for call in calls:
        call()
    return calls


def _speed(first: list[float], whole: list[float], batch: int, tokens: int, bound: float) -> dict[str, Any]:
    token = (statistics.median(whole) - statistics.median(first)) / (tokens - 1)
    return {
        "prefill_s": summary(first),
        "text_s": summary(whole),
        "token_s": token,
        "tokens_per_s": batch / token,
        "bound_s": bound,
        "bound_share": bound / token,
    }


if __name__ == "__main__":
    main()
