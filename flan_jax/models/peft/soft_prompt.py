"""Soft prompts: trained vectors in front of a row (Lester et al. 2021, arXiv:2104.08691).

``build.merge`` hangs it on the model; a model without one computes as if this file were not there.

Shapes: B rows of a batch, T length of a row, P vectors of the prompt, D model width.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.typing import AnyArray

Prompt = nnx.Param | None


class SoftPromptShape(NamedTuple):
    """Sizes and scale of a model's soft prompts.

    Attributes:
        width: of a vector.
        layers: of the stack that reads them.
        heads: of its layers.
        scale: what multiplies the vectors, as it does embeddings.
    """

    width: int
    layers: int
    heads: int
    scale: float


def prompt_length(prompt: Prompt) -> int:
    """Returns P, or 0 without a prompt."""
    return 0 if prompt is None else prompt[...].shape[0]


def prompt_padded(ids_BT: Int[AnyArray, "B T"], prompt: Prompt, value: int = 1) -> Int[Array, "B P+T"]:
    """Pads ids of a row on the left with ``value`` for the prompt's vectors.

    As a segment id, 1 makes the prompt part of the first example of a row, which therefore is its only one.
    """
    ids_BT = jnp.asarray(ids_BT)
    return (
        jnp.pad(ids_BT, ((0, 0), (prompt_length(prompt), 0)), constant_values=value) if prompt is not None else ids_BT
    )


def positions_after_prompt(positions_BT: Int[AnyArray, "B T"], prompt: Prompt) -> Int[Array, "B P+T"]:
    """Shifts positions behind the prompt's, which count from 0: ``[0, 1]`` with two vectors → ``[0, 1, 2, 3]``."""
    length = prompt_length(prompt)
    positions_BT = jnp.asarray(positions_BT) + length
    in_front_BP = jnp.broadcast_to(jnp.arange(length), (positions_BT.shape[0], length))
    return jnp.concatenate([in_front_BP, positions_BT], axis=1)


def prepend_prompt(x_BTD: Float[Array, "B T D"], prompt: Prompt) -> Float[Array, "B P+T D"]:
    """Concatenates the prompt and the embedded row."""
    if prompt is None:
        return x_BTD
    prompt_PD = prompt[...].astype(x_BTD.dtype)
    prompt_BPD = jnp.broadcast_to(prompt_PD, (x_BTD.shape[0], *prompt_PD.shape))
    return jnp.concatenate([prompt_BPD, x_BTD], axis=1)


def prompt_at_first_positions(
    x_BTD: Float[Array, "B T D"], prompt: Prompt, positions_BT: Int[Array, "B T"]
) -> Float[Array, "B T D"]:
    """Replaces the embeddings at positions below P by the prompt's vectors."""
    if prompt is None:
        return x_BTD
    prompt_PD, length = prompt[...].astype(x_BTD.dtype), prompt_length(prompt)
    vectors_BTD = prompt_PD[jnp.clip(positions_BT, 0, length - 1)]
    return jnp.where((positions_BT < length)[..., None], vectors_BTD, x_BTD)
