"""LoRA adapters and soft prompts in a tree of parameters, and its split into trained and frozen parts.

The whole tree is what ``build.merge`` takes: a kernel with an adapter is a ``LowRank`` there, and a prompt stands
under ``prompt``. The trained tree is a plain nested dictionary of arrays (``{"q": {"lora_a": …, "lora_b": …}}``),
which optimisers and checkpoints treat like any other; ``join(*split(whole)) == whole``.
"""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from flan_jax.errors import UserError
from flan_jax.models.ops.linear import LowRank
from flan_jax.models.ops.quantized import QuantizedKernel, is_quantized, whole_shape
from flan_jax.models.ops.typing import Key
from flan_jax.models.parameter_patterns import Path
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import dequantized, stored_axes

Tree = dict[str, Any]
PROMPT = "prompt"
A, B = "lora_a", "lora_b"


def attach(params: Mapping[str, Any], axes: Mapping[str, Any], tuning: TuningConfig, key: Key) -> Tree:
    """Adds freshly initialized adapters and prompt to the parameters; the model computes the same or nearly the same.

    ``a`` is uniform within ``1 / sqrt(inputs)`` and ``b`` is 0, as in the paper's code and in PEFT, so that training
    begins at the model as it is. A prompt begins as the embeddings of random tokens (Lester et al. 2021).

    Args:
        params: the model's, nested dict of arrays and quantized kernels.
        axes: the model's logical axes.
        tuning: what to attach.
        key: decides every value; each depends on its own path only, never on a mesh or on the other adapters.

    Raises:
        UserError: a pattern does not fit the model.
    """
    tuning.check(axes)
    flat = traverse_util.flatten_dict(dict(params))
    for path in tuning.adapted(axes):
        kernel = flat[path]
        *layers, inputs, outputs = whole_shape(kernel)
        bound = inputs**-0.5
        a = jax.random.uniform(_key_of(key, path), (*layers, inputs, tuning.lora_rank), jnp.float32, -bound, bound)
        b = jnp.zeros((*layers, tuning.lora_rank, outputs), jnp.float32)
        flat[path] = LowRank(kernel, a, b, tuning.scale)
    if tuning.prompt_tokens:
        table = flat[("embedding",)]
        tokens = jax.random.randint(_key_of(key, (PROMPT,)), (tuning.prompt_tokens,), 0, table.shape[0])
        flat[(PROMPT,)] = table[tokens].astype(jnp.float32)
    return traverse_util.unflatten_dict(flat)


def attach_axes(axes: Mapping[str, Any], tuning: TuningConfig) -> Tree:
    """Returns the logical axes of ``attach``'s result: adapters are sharded like their kernels, ranks never."""
    tuning.check(axes)
    own, flat = (traverse_util.flatten_dict(dict(tree)) for tree in (axes, stored_axes(axes, tuning)))
    for path in tuning.adapted(axes):
        *layers, inputs, outputs = own[path]
        a, b = (*layers, inputs, None), (*layers, None, outputs)
        flat[path] = LowRank(flat[path], a, b, tuning.scale)  # type: ignore[arg-type]  # names in the place of arrays
    if tuning.prompt_tokens:
        flat[(PROMPT,)] = ("buckets", "embed")  # a table to look up, as that of positions
    return traverse_util.unflatten_dict(flat)


def split(whole: Mapping[str, Any], tuning: TuningConfig) -> tuple[Tree, Tree]:
    """Splits a tree with adapters (of arrays, shapes, axes or shardings) into (trained, frozen)."""
    trained: dict[Path, Any] = {}
    frozen: dict[Path, Any] = {}
    for path, value in traverse_util.flatten_dict(dict(whole)).items():
        if isinstance(value, LowRank):
            trained |= {(*path, A): value.a, (*path, B): value.b}
            frozen[path] = value.kernel
        elif path == (PROMPT,) or tuning.is_trainable(path):
            trained[path] = value
        else:
            frozen[path] = value
    return traverse_util.unflatten_dict(trained), traverse_util.unflatten_dict(frozen)


def join(trained: Mapping[str, Any], frozen: Mapping[str, Any], tuning: TuningConfig) -> Tree:
    """Reverses ``split``: returns the tree that ``build.merge`` takes."""
    if not frozen:
        return dict(trained)
    flat = traverse_util.flatten_dict(dict(frozen))
    for path, value in traverse_util.flatten_dict(dict(trained)).items():
        *kernel, name = path
        if name == A:
            owner = tuple(kernel)
            flat[owner] = LowRank(flat[owner], value, _at(trained, (*owner, B)), tuning.scale)
        elif name != B:
            flat[path] = value
    return traverse_util.unflatten_dict(flat)


def merged_params(whole: Mapping[str, Any]) -> Tree:
    """Merges every adapter into its kernel, and quantized ones into their numbers: plain parameters that compute the same.

    Raises:
        UserError: the tree has a prompt, which no other parameter can take in.
    """
    check_mergeable(whole)
    merged = jax.tree.map(
        lambda leaf: leaf.whole() if isinstance(leaf, LowRank) else leaf,
        dict(whole),
        is_leaf=lambda node: isinstance(node, LowRank | QuantizedKernel),
    )
    return dequantized(merged)


def check_mergeable(params: Mapping[str, Any]) -> None:
    """Refuses a tree with a prompt, which no other parameter can take in.

    Raises:
        UserError: it has one.
    """
    if PROMPT in params:
        raise UserError(
            "A trained prompt cannot be merged into the weights of a model. Export it as an adapter (--adapter), or "
            "train adapters instead (TuningConfig.lora_rank)."
        )


@dataclasses.dataclass(frozen=True)
class Counts:
    """Parameter counts.

    Attributes:
        trained: those that are trained, adapters and prompt included.
        total: all.
    """

    trained: int
    total: int

    @property
    def share(self) -> float:
        """Of all numbers, those that are trained."""
        return self.trained / self.total


def counts(trained: Mapping[str, Any], frozen: Mapping[str, Any]) -> Counts:
    """Counts the numbers of both trees, whose leaves have a ``shape`` or are quantized kernels."""
    own, rest = (
        sum(int(np.prod(whole_shape(leaf))) for leaf in jax.tree.leaves(tree, is_leaf=is_quantized))
        for tree in (trained, frozen)
    )
    return Counts(own, own + rest)


def _key_of(key: Key, path: Path) -> Key:
    return jax.random.fold_in(key, zlib.crc32("/".join(path).encode()))


def _at(tree: Mapping[str, Any], path: Path) -> Any:
    node: Any = tree
    for name in path:
        node = node[name]
    return node
