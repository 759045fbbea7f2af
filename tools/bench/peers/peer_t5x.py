"""The network and the loss of T5X as a peer of benchmarks: its own files, read from a checkout that the user names."""

import functools
import importlib
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from flan_jax.errors import UserError
from flan_jax.models.t5.config import T5Config

# The packages' own __init__ files import a trainer whose dependencies are not needed for the network.
_PACKAGES = ("t5x", "t5x.examples", "t5x.examples.t5")


def load(checkout: str | Path) -> tuple[Any, Any]:
    """T5X's modules ``examples.t5.network`` and ``losses``.

    Raises:
        UserError: the folder is no checkout of T5X.
    """
    root = Path(checkout).expanduser()
    if not (root / "t5x" / "examples" / "t5" / "network.py").is_file():
        raise UserError(f"--t5x {str(checkout)!r} is no checkout of T5X: it has no t5x/examples/t5/network.py.")
    for name in _PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
    return importlib.import_module("t5x.examples.t5.network"), importlib.import_module("t5x.losses")


def make_step(
    checkout: str | Path, config: T5Config, optimizer: optax.GradientTransformation, batch: Mapping[str, Any], seed: int
) -> tuple[Any, Callable[[Any, Mapping[str, Any]], tuple[Any, jax.Array]]]:
    """A state and a compiled training step ``(state, batch) -> (state, loss)`` of T5X's network.

    Args:
        checkout: of T5X.
        config: the sizes and the rate of dropout, whose masks T5X shares between the places of a row, as ours do.
        optimizer: the same as the others', over the parameters of this network.
        batch: decides the shapes.
        seed: of the initial parameters.
    """
    network, losses = load(checkout)
    sizes = network.T5Config(
        vocab_size=config.vocab_size,
        dtype=jnp.dtype(config.dtype),
        emb_dim=config.d_model,
        num_heads=config.num_heads,
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
        head_dim=config.d_kv,
        mlp_dim=config.d_ff,
        mlp_activations=("gelu", "linear") if config.gated else (config.mlp_activation,),
        dropout_rate=config.dropout_rate,
        logits_via_embedding=config.tie_embeddings,
    )
    model = network.Transformer(sizes)

    def inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
        optional = ("encoder_segment_ids", "decoder_segment_ids", "encoder_positions", "decoder_positions")
        return {
            "encoder_input_tokens": batch["encoder_input_tokens"],
            "decoder_input_tokens": batch["decoder_input_tokens"],
            "decoder_target_tokens": batch["decoder_target_tokens"],
            **{name: batch[name] for name in optional if name in batch},
            "enable_dropout": config.dropout_rate > 0,
        }

    key = jax.random.key(seed)
    init = jax.jit(lambda key, batch: model.init({"params": key, "dropout": key}, **inputs(batch))["params"])
    params = init(key, dict(batch))
    state = (params, jax.jit(optimizer.init)(params), key)

    def objective(params: Any, batch: Mapping[str, Any], key: jax.Array) -> jax.Array:
        logits = model.apply({"params": params}, **inputs(batch), rngs={"dropout": key})
        weights = batch["decoder_loss_weights"]
        loss, _, _ = losses.compute_weighted_cross_entropy(logits, batch["decoder_target_tokens"], weights)
        return loss / jnp.sum(weights)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, batch: Mapping[str, Any]) -> tuple[Any, jax.Array]:
        params, moments, key = state
        key, of_step = jax.random.split(key)
        loss, grads = jax.value_and_grad(objective)(params, batch, of_step)
        updates, moments = optimizer.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments, key), loss

    return state, step
