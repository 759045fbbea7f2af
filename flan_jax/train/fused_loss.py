"""Cross-entropy computed from hidden states in chunks of rows, so that no array holds all logits.

Logits are the largest array of a step: 32 rows of 1,024 tokens and a vocabulary of 128,256 are 17 GB. Here a
chunk's logits live for as long as its loss and its share of the gradient take, in one pass: three products in
all, as many as with all logits at once, and nothing computed twice.

Shapes: B rows of a batch, T decoder length, D model width, V vocabulary, C chunks of the length, t length of a
chunk, P devices that rows are split over, R = B / P, N = R * t.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.lm_head import Head
from flan_jax.train.sharding import Partitioner

CHUNK_BYTES = 64 * 2**20
"""How large the float32 logits of a chunk may be on one device.

Products of some hundred tokens with the whole vocabulary run at the full rate already (with T5's 32,128 words a chunk
is 522 tokens), and a smaller chunk reads more of what it wrote from the cache. Forward and backward of 8 x 128 tokens
of T5-small took 0.67 s of CPU time with 64 MiB, 0.72 s with 16, 1.02 s with 4, and 0.79 s in one chunk.
"""


class TokenValues(NamedTuple):
    """The values known of every target token; the gradient of none of it is defined."""

    cross_entropy: Float[Array, "B T"]
    """Nats."""
    log_normalizer: Float[Array, "B T"]
    """The logarithm of the sum of exponentials of the logits."""
    correct: Float[Array, "B T"]
    """1 where the target is the most likely prediction, the first of several."""


@dataclasses.dataclass(frozen=True)
class _Plan:
    """All that is no array. Hashable."""

    tied: bool
    softcap: float | None
    z_loss: float
    length: int  # t
    groups: int  # P
    mesh: Mesh | None
    vocab_axis: tuple[str, ...]
    row_axes: tuple[str, ...]

    def place(self, x: Array, *axes: tuple[str, ...] | None) -> Array:
        """Says how an array lies on the mesh."""
        if self.mesh is None or self.mesh.size == 1:
            return x
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, PartitionSpec(*axes)))


def fused_loss(
    head: Head,
    x_BTD: Float[Array, "B T D"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    *,
    z_loss: float = 0.0,
    partitioner: Partitioner | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[Float[Array, ""], TokenValues]:
    """Computes the weighted sum of cross-entropy and z-loss, and the values of every token.

    The gradient reaches the hidden states, the weights and the head's kernel. It is computed together with the
    value; where the kernel is not differentiated (it is frozen), neither is its product.

    Args:
      head: of the model.
      x_BTD: what the head reads, before its scale.
      targets_BT: tokens.
      weights_BT: of each in the sum.
      z_loss: the coefficient, 0 for none.
      partitioner: how rows and vocabulary are split over devices. Each device sums up the kernel's gradient over
        its own rows, and the sums are added once at the end rather than after every chunk.
      chunk_bytes: how large the float32 logits of a chunk may be on one device; a chunk has at least one token a row.

    Raises:
      TypeError: when values of tokens are differentiated.
    """
    rows, length = targets_BT.shape
    vocab_axis: tuple[str, ...] = ()
    row_axes: tuple[str, ...] = ()
    groups = vocab_parts = 1
    mesh = None if partitioner is None else partitioner.mesh
    if partitioner is not None and mesh is not None:
        row_axes, groups = partitioner.batch_axes, partitioner.batch_parts
        if rows % groups:
            row_axes, groups = (), 1
        (split,) = (*partitioner.spec(("vocab",), (head.vocab_size,)), None)[:1]
        vocab_axis = () if split is None else (split,) if isinstance(split, str) else tuple(split)
        vocab_parts = math.prod(mesh.shape[axis] for axis in vocab_axis)
    all_bytes = 4 * (rows // groups) * length * -(-head.vocab_size // vocab_parts)
    chunks = min(length, max(1, -(-all_bytes // chunk_bytes)))
    plan = _Plan(head.tied, head.softcap, z_loss, -(-length // chunks), groups, mesh, vocab_axis, row_axes)
    objective, values = _fused(plan, head.kernel, head.scaled(x_BTD), weights_BT.astype(jnp.float32), targets_BT)
    return objective, values


def _primal(
    plan: _Plan, kernel: Array, x_BTD: Array, weights_BT: Array, targets_BT: Array
) -> tuple[Array, TokenValues]:
    return _run(plan, kernel, x_BTD, weights_BT, targets_BT)[:2]


_fused = jax.custom_vjp(_primal, nondiff_argnums=(0,))


def _forward(plan, kernel, x_BTD, weights_BT, targets_BT):  # type: ignore[no-untyped-def]
    objective, values, dkernel, dx_BTD = _run(
        plan, kernel.value, x_BTD.value, weights_BT.value, targets_BT.value,
        to_kernel=kernel.perturbed, to_x=x_BTD.perturbed,
    )  # fmt: skip
    dweights_BT = values.cross_entropy + plan.z_loss * jnp.square(values.log_normalizer)
    return (objective, values), (dkernel, dx_BTD, dweights_BT if weights_BT.perturbed else None)


def _backward(plan, gradients, cotangents):  # type: ignore[no-untyped-def]
    g, of_values = cotangents
    if not all(isinstance(part, SymbolicZero) for part in of_values):
        raise TypeError("The values of tokens have no gradient: differentiate the objective, or use `token_loss`.")
    if isinstance(g, SymbolicZero):
        return None, None, None, None
    return *(None if part is None else (g * part).astype(part.dtype) for part in gradients), None


_fused.defvjp(_forward, _backward, symbolic_zeros=True)


def _run(
    plan: _Plan,
    kernel: Array,
    x_BTD: Array,
    weights_BT: Array,
    targets_BT: Array,
    *,
    to_kernel: bool = False,
    to_x: bool = False,
) -> tuple[Array, TokenValues, Array | None, Array | None]:
    """Objective, values, and the gradients that are asked for."""
    rows, length, _ = x_BTD.shape
    # Whole along the width and in the type of the product before the loop, not gathered again for every chunk.
    vocab_axis = plan.vocab_axis or None
    on_kernel = (vocab_axis, None) if plan.tied else (None, vocab_axis)
    head = Head(plan.place(kernel.astype(x_BTD.dtype), *on_kernel), plan.tied, softcap=plan.softcap)

    def chunks(y: Array) -> Array:
        count = -(-length // plan.length)
        y = jnp.pad(y, ((0, 0), (0, count * plan.length - length), *[(0, 0)] * (y.ndim - 2)))
        y = y.reshape(plan.groups, rows // plan.groups, count, plan.length, *y.shape[2:])
        return plan.place(jnp.moveaxis(y, 2, 0), None, plan.row_axes or None)

    def whole(y: Array) -> Array:
        y = jnp.moveaxis(y, 0, 2)
        return y.reshape(rows, -1, *y.shape[4:])[:, :length]

    def chunk(
        total: Array | None, operands: tuple[Array, Array, Array]
    ) -> tuple[Array | None, tuple[TokenValues, Array | None]]:
        x_PRtD, weights_PRt, targets_PRt = operands
        values, dlogits_PRtV = _chunk(head, plan.z_loss, x_PRtD, weights_PRt, targets_PRt)
        dx_PRtD = None
        if to_x:
            equation = "PRtV,VD->PRtD" if plan.tied else "PRtV,DV->PRtD"
            dx_PRtD = jnp.einsum(equation, dlogits_PRtV, head.kernel)
        if total is not None:
            # One axis of tokens: over two, XLA transposes the logits before the product, element by element on a CPU.
            dlogits_PNV, x_PND = (y.reshape(plan.groups, -1, y.shape[-1]) for y in (dlogits_PRtV, x_PRtD))
            factors = (dlogits_PNV, x_PND) if plan.tied else (x_PND, dlogits_PNV)
            total += jnp.einsum("PNa,PNb->Pab", *factors, preferred_element_type=jnp.float32)
        return total, (values, dx_PRtD)

    total = None
    if to_kernel:
        total = plan.place(jnp.zeros((plan.groups, *kernel.shape), jnp.float32), plan.row_axes or None, *on_kernel)
    operands = (chunks(x_BTD), chunks(weights_BT), chunks(targets_BT))
    total, (values, dx) = jax.lax.scan(chunk, total, operands)
    values = jax.tree.map(whole, values)
    objective = jnp.sum(weights_BT * (values.cross_entropy + plan.z_loss * jnp.square(values.log_normalizer)))
    dkernel = None if total is None else jnp.sum(total, axis=0).astype(kernel.dtype)
    return objective, values, dkernel, None if dx is None else whole(dx)


def _chunk(
    head: Head, z_loss: float, x: Float[Array, "*n D"], weights: Float[Array, "*n"], targets: Int[Array, "*n"]
) -> tuple[TokenValues, Float[Array, "*n V"]]:
    """The values of a chunk's tokens, and the gradient of its weighted sum to the product of hidden states and kernel."""
    logits = head.capped(head.product(x))
    word_V = jnp.arange(head.vocab_size)
    # A comparison instead of a gather: it stays local where the vocabulary is split over devices.
    is_target = targets[..., None] == word_V
    of_target = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    largest = jnp.max(logits, axis=-1, keepdims=True)
    e = jnp.exp(logits - largest)
    normalizer = jnp.sum(e, axis=-1, keepdims=True)
    log_normalizer = (largest + jnp.log(normalizer))[..., 0]
    # The target is the first of the largest: a comparison too, where an argmax is a slow loop on a CPU.
    before = (logits == largest) & (word_V < targets[..., None])
    correct = (of_target == largest[..., 0]) & ~jnp.any(before, axis=-1)
    slope = (1.0 + 2.0 * z_loss * log_normalizer) * weights
    dlogits = (slope[..., None] / normalizer) * e - jnp.where(is_target, weights[..., None], 0.0)
    if head.softcap is not None:
        dlogits *= 1.0 - jnp.square(logits / head.softcap)
    values = TokenValues(log_normalizer - of_target, log_normalizer, correct.astype(jnp.float32))
    return values, dlogits.astype(x.dtype)
