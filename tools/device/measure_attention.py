"""cuDNN's attention against ours: time of forward and backward pass together, and that both give the same."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from device.timing import seconds_a_call

from flan_jax.models.decoder.layers import cudnn_attention
from flan_jax.models.ops.attention import dot_product_attention
from flan_jax.models.ops.attention_impl import cudnn_refusal, select_impl
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.attention_passes import AttentionOptions

TOLERANCE = 2e-2
"""The largest difference as a share of the norm, in bfloat16: a few roundings of eight bits."""


class Shape(NamedTuple):
    """Of one layer's attention: decoders' is causal over packed rows, T5's encoder's has a learned bias."""

    rows: int
    length: int
    heads: int
    key_heads: int
    width: int
    bias: bool
    against: tuple[str, ...]


def shapes(small: bool) -> dict[str, Shape]:
    """Returns name → shape and the implementations that are compared, the first of which all others are held against."""
    if small:
        both = ("dense", "chunked", "batch_chunked", "cudnn")
        return {
            "decoder": Shape(2, 256, 6, 2, 8, False, both),
            "t5": Shape(2, 64, 3, 3, 8, True, both[:3]),
        }
    return {
        "equality": Shape(2, 1024, 12, 4, 64, False, ("dense", "chunked", "cudnn")),
        "decoder_1b": Shape(8, 4096, 32, 8, 64, False, ("chunked", "cudnn")),
        "decoder_8b": Shape(4, 4096, 32, 8, 128, False, ("chunked", "cudnn")),
        "t5_xl": Shape(4, 2048, 32, 32, 64, True, ("dense", "chunked")),
    }


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    report(tolerance=TOLERANCE)
    for name, shape in shapes(settings["small"]).items():
        found: dict[str, Any] = {"shape": shape._asdict(), "missing": {}}
        reference, arrays = None, _arrays(shape)
        for kind in shape.against:
            refusal = _refusal(kind, shape)
            if refusal:
                found["missing"][kind] = refusal
                report(**{name: found})
                continue
            call = jax.jit(_passes(kind, shape))
            result = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(call(*arrays))]
            timed = seconds_a_call(functools.partial(call, *arrays), budget_s=0.3 if settings["small"] else 1.5)
            found[kind] = {"seconds": timed}
            if reference is None:
                reference = result
            else:
                found[kind]["difference"] = max(map(_relative, result, reference))
            report(**{name: found})


def _refusal(kind: str, shape: Shape) -> str:
    if kind != "cudnn":
        return ""
    if jax.default_backend() != "gpu":
        return f"JAX runs on {jax.default_backend()!r}, and cuDNN on GPUs"
    return cudnn_refusal(dtype="bfloat16", d_head=shape.width, softcap=None)


def _arrays(shape: Shape) -> tuple[Any, ...]:
    keys = jax.random.split(jax.random.key(0), 5)
    rows, length, heads, groups, width = shape[:5]

    def draw(key: Any, heads: int) -> Any:
        return jax.random.normal(key, (rows, length, heads, width), jnp.bfloat16)

    ends = jax.random.randint(keys[4], (rows, 3), 1, length)
    segments = 1 + (jnp.arange(length) >= ends[:, :, None]).sum(axis=1, dtype=jnp.int32)
    bias = jax.random.normal(keys[3], (1, heads, length, length), jnp.bfloat16) if shape.bias else None
    return draw(keys[0], heads), draw(keys[1], groups), draw(keys[2], groups), segments, bias


def _passes(kind: str, shape: Shape) -> Callable[..., Any]:
    """Returns (q, k, v, segments, bias) → what the layer gives, and its gradients."""
    scale = shape.width**-0.5

    def forward(q: Any, k: Any, v: Any, segments: Any, bias: Any) -> Any:
        causal = not shape.bias
        mask = AttentionMask(segments, segments, jnp.arange(shape.length), causal=causal, aligned=causal)
        if kind == "cudnn":
            return cudnn_attention(q, k, v, mask, scale).reshape(*q.shape[:2], -1)
        impl = select_impl(
            kind, rows=shape.rows, heads=shape.heads, queries=shape.length, keys=shape.length, cudnn_refuses="",
            aligned=causal,
        )  # fmt: skip
        options = AttentionOptions(scale, None, impl.query_chunk, impl.batch_chunk)
        return dot_product_attention(*(x.swapaxes(1, 2) for x in (q, k, v)), bias, mask, options)

    def passes(q: Any, k: Any, v: Any, segments: Any, bias: Any) -> Any:
        mixed, backward = jax.vjp(lambda *given: forward(*given[:3], segments, given[3]), q, k, v, bias)
        # A gradient that differs from place to place, and is the same for all implementations.
        return mixed, backward(
            jnp.cos(jnp.arange(mixed.size, dtype=jnp.float32)).reshape(mixed.shape).astype(mixed.dtype)
        )

    return passes


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    error = float(np.linalg.norm((found - wanted).ravel()) / max(np.linalg.norm(wanted.ravel()), 1e-300))
    return error if np.isfinite(error) else 1e300
