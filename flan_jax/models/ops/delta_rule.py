"""Gated delta rule: a state in the place of keys, computed chunk by chunk (Yang et al. 2024, arXiv:2412.06464).

Each head keeps a matrix S. A token multiplies it by its decay, corrects what it says of the token's key towards the token's
value, ``S = exp(g) S + beta k (v - kᵀ exp(g) S)``, and reads it with its query, ``Sᵀ q``. Within a chunk all corrections are one
triangular system, so that whole rows are products of matrices; a chunk of one token is the step of decoding.

A state belongs to the segment of the last token that it has seen: tokens of another segment neither read nor keep it.

Shapes: B rows, T length, H heads, K width of keys, V width of values, N chunks, c tokens of one, C channels, W taps.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

CHUNK = 64
"""Tokens of a chunk, as in the published implementations."""
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def causal_conv(
    x_BTC: Float[Array, "B T C"],
    taps_WC: Float[Array, "W C"],
    segments_BT: Int[Array, "B T"],
    tail_BwC: Float[Array, "B w C"],
) -> tuple[Float[Array, "B T C"], Float[Array, "B w C"]]:
    """Computes each channel's convolution with the last W tokens of its segment, and SiLU of it.

    Args:
        x_BTC: inputs.
        taps_WC: weights, of the oldest token first.
        segments_BT: segment ids.
        tail_BwC: the W - 1 inputs before, of the first token's segment; 0 where there are none.

    Returns:
        The result in the type of ``x``, and the tail behind the last token.
    """
    taps, length = taps_WC.shape[0], x_BTC.shape[1]
    x_BXC = jnp.concatenate([tail_BwC.astype(x_BTC.dtype), x_BTC], axis=1)
    before_Bw = jnp.repeat(segments_BT[:, :1], taps - 1, axis=1)
    segments_BX = jnp.concatenate([before_Bw, segments_BT], axis=1)
    total = jnp.zeros_like(x_BTC)
    for tap in range(taps):
        same_BT1 = (segments_BX[:, tap : tap + length] == segments_BT)[..., None]
        total += jnp.where(same_BT1, x_BXC[:, tap : tap + length], 0) * taps_WC[tap].astype(x_BTC.dtype)
    kept_Bw1 = (segments_BX[:, length:] == segments_BT[:, -1:])[..., None]
    return jax.nn.silu(total), jnp.where(kept_Bw1, x_BXC[:, length:], 0)


def gated_delta_rule(
    q_BTHK: Float[Array, "B T H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHV: Float[Array, "B T H V"],
    g_BTH: Float[Array, "B T H"],
    beta_BTH: Float[Array, "B T H"],
    segments_BT: Int[Array, "B T"],
    state_BHKV: Float[Array, "B H K V"],
    chunk: int = CHUNK,
) -> tuple[Float[Array, "B T H V"], Float[Array, "B H K V"]]:
    """Computes what every token reads, and the state behind the last; all in float32.

    Args:
        q_BTHK: queries, of which the lengths are made 1 and then divided by the root of K.
        k_BTHK: keys, of which the lengths are made 1.
        v_BTHV: values.
        g_BTH: logarithms of decays, at most 0.
        beta_BTH: how far a value replaces what the state says, from 0 to 1.
        segments_BT: segment ids.
        state_BHKV: the state before, of the first token's segment.
        chunk: tokens computed at once.
    """
    length = q_BTHK.shape[1]
    size = min(chunk, length)
    more = -length % size
    q, k = (_unit(x) for x in (q_BTHK, k_BTHK))
    parts = [_chunks(x.astype(jnp.float32), size, more) for x in (q * q.shape[-1] ** -0.5, k, v_BTHV, g_BTH, beta_BTH)]
    # What fills the last chunk belongs to the last segment and changes nothing: no decay, no key.
    segments_BX = jnp.pad(segments_BT, ((0, 0), (0, more)), mode="edge")
    segments_NBc = segments_BX.reshape(segments_BX.shape[0], -1, size).swapaxes(0, 1)
    start = (state_BHKV.astype(jnp.float32), segments_BT[:, 0])
    (state, _), read = jax.lax.scan(_chunk, start, (*parts, segments_NBc))
    read_BTHV = jnp.moveaxis(read, (0, 3), (1, 2)).reshape(read.shape[1], -1, read.shape[2], read.shape[4])
    return read_BTHV[:, :length], state


def _unit(x: Array) -> Array:
    wide = x.astype(jnp.float32)
    return wide * jax.lax.rsqrt(jnp.sum(jnp.square(wide), axis=-1, keepdims=True) + 1e-6)


def _chunks(x: Array, size: int, more: int) -> Array:
    """Reshapes ``[B, T, H, …]`` to ``[N, B, H, c, …]``, padded with 0."""
    x = jnp.pad(x, ((0, 0), (0, more), *((0, 0),) * (x.ndim - 2)))
    x = x.reshape(x.shape[0], -1, size, *x.shape[2:])
    return jnp.moveaxis(x, (1, 3), (0, 2))


def _chunk(carry: tuple[Array, Array], of_chunk: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
    (state, before_B), (q, k, v, g, beta, segments_Bc) = carry, of_chunk
    size = q.shape[2]
    total_BHc = jnp.cumsum(g, axis=-1)
    same = (segments_Bc[:, :, None] == segments_Bc[:, None, :])[:, None] & jnp.tril(jnp.ones((size, size), bool))
    apart = jnp.where(same, total_BHc[..., :, None] - total_BHc[..., None, :], 0.0)
    decay = jnp.where(same, jnp.exp(apart), 0.0)
    reads = jnp.where((segments_Bc == before_B[:, None])[:, None], jnp.exp(total_BHc), 0.0)[..., None]
    system = jnp.tril(_einsum("BHck,BHdk->BHcd", k * beta[..., None], k) * decay, -1) + jnp.eye(size)
    wanted = beta[..., None] * (v - reads * _einsum("BHck,BHkv->BHcv", k, state))
    new = jax.lax.linalg.triangular_solve(system, wanted, left_side=True, lower=True, unit_diagonal=True)
    read = reads * _einsum("BHck,BHkv->BHcv", q, state)
    read += _einsum("BHcd,BHdv->BHcv", _einsum("BHck,BHdk->BHcd", q, k) * decay, new)
    last_B, whole_BH = segments_Bc[:, -1], total_BHc[..., -1]
    kept = jnp.where((segments_Bc == last_B[:, None])[:, None], jnp.exp(whole_BH[..., None] - total_BHc), 0.0)
    carried = jnp.where((last_B == before_B)[:, None], jnp.exp(whole_BH), 0.0)[..., None, None]
    return (carried * state + _einsum("BHck,BHcv->BHkv", k * kept[..., None], new), last_B), read
