"""Configuration of parameter-efficient tuning: LoRA, soft prompts, or a choice of parameters.

This file says what is chosen; ``adapters`` takes a tree of parameters apart by it and puts it together again.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from flax import traverse_util

from flan_jax.errors import UserError
from flan_jax.models.ops.quantized import QUANTIZED
from flan_jax.models.parameter_patterns import Path, check_patterns, matched, matches
from flan_jax.typed import Above0, Natural, check_fields

LoraScaling = Literal["alpha/r", "alpha/sqrt(r)"]
FrozenDtype = Literal["float32", "bfloat16", "int8", "nf4"]
_NOTHING_FROZEN = (
    "TuningConfig.frozen_dtype is {!r}, but nothing is frozen, and what is trained stays in float32. Leave it out, or "
    "train a part (lora_rank, prompt_tokens, train or freeze)."
)


@dataclasses.dataclass(frozen=True)
class TuningConfig:
    """Options of what is trained; every value is checked when it is built (UserError). The default trains everything.

    Patterns are regular expressions that must match all of a name. One without a ``/`` is compared with the last
    part of a parameter's path (``q`` is the queries of every attention, ``wi_0|wi_1`` what leads into every gated
    feed-forward), one with a ``/`` with the whole path (``decoder/layers/.*/v``). Each must match something.

    A low-rank adapter (Hu et al. 2021, arXiv:2106.09685) adds ``scale * a @ b`` to a kernel, with ``a`` of shape
    [inputs, r] and ``b`` of shape [r, outputs]. A prompt (Lester et al. 2021, arXiv:2104.08691) is a number of
    trained vectors in front of the embedded inputs. With either of them everything else is frozen that ``train``
    does not name.
    """

    lora_rank: Natural = 0
    """r, the rank of the adapters; 0 for none."""
    lora_alpha: Above0 = 16.0
    """What the scale is made of."""
    lora_scaling: LoraScaling = "alpha/r"
    """The scale of an adapter: ``alpha/r``, or the rank-stabilised ``alpha/sqrt(r)`` (Kalajdzievski 2023,
    arXiv:2312.03732), under which a larger rank does not mean smaller steps."""
    lora_patterns: tuple[str, ...] = ("q", "v")
    """Which kernels get an adapter."""
    prompt_tokens: Natural = 0
    """How many trained vectors stand in front of the inputs of a T5's encoder, or of a decoder's row; 0 for none."""
    train: tuple[str, ...] = ()
    """Patterns of parameters to train; without any, and without adapters or a prompt, all of them."""
    freeze: tuple[str, ...] = ()
    """Patterns of parameters that are left as they are, even where ``train`` names them."""
    frozen_dtype: FrozenDtype = "float32"
    """How frozen matrices are kept on the devices; ``bfloat16`` takes half the memory, and rounds each number to
    eight bits once. ``int8`` and ``nf4`` (QLoRA, Dettmers et al. 2023, arXiv:2305.14314) quantize the kernels of
    layers, to a quarter and to a seventh of it, and keep the embedding and the output projection in bfloat16. What is
    trained, and frozen vectors and position tables, stay in float32."""

    def __post_init__(self) -> None:
        check_fields(self)
        for field in ("lora_patterns", "train", "freeze"):
            check_patterns(getattr(self, field), f"TuningConfig.{field}")
        for field in ("lora_alpha", "lora_scaling", "lora_patterns"):
            if not self.lora_rank and getattr(self, field) != type(self).__dataclass_fields__[field].default:
                raise UserError(
                    f"TuningConfig.{field} is {getattr(self, field)!r}, but nothing reads it, as lora_rank is 0, which "
                    "asks for no adapters. Give lora_rank (LORA_RANK) at least 1, or leave the adapters' settings out."
                )
        if self.frozen_dtype != "float32" and not self.partial:
            raise UserError(_NOTHING_FROZEN.format(self.frozen_dtype))
        if self.lora_rank and not self.lora_patterns:
            raise UserError(
                f"TuningConfig.lora_rank is {self.lora_rank}, but lora_patterns names no kernel. Name some: ('q', 'v')."
            )

    @property
    def partial(self) -> bool:
        """True where something may be frozen."""
        return bool(self.lora_rank or self.prompt_tokens or self.train or self.freeze)

    @property
    def scale(self) -> float:
        """Factor of an adapter's product ``a @ b``."""
        if not self.lora_rank:
            return 0.0
        return self.lora_alpha / (self.lora_rank if self.lora_scaling == "alpha/r" else math.sqrt(self.lora_rank))

    def is_trainable(self, path: Path) -> bool:
        """Tells whether a parameter of the model itself is trained."""
        adds = bool(self.lora_rank or self.prompt_tokens)
        chosen = any(matches(pattern, path) for pattern in self.train) if self.train or adds else True
        return chosen and not any(matches(pattern, path) for pattern in self.freeze)

    def storage_format(self, path: Path, axes: tuple[str | None, ...]) -> FrozenDtype:
        """Returns how one of the model's own parameters is kept on the devices.

        Norms and biases are added to numbers in float32, and position tables to scores; all of them together are
        next to nothing beside the matrices, so nothing is rounded that saves nothing.

        Args:
            path: of the parameter.
            axes: the names of its axes.
        """
        matrix = len(axes) - ("layers" in axes) == 2 and "buckets" not in axes
        if not matrix or self.is_trainable(path):
            return "float32"
        # An embedding is looked up, and an output projection decides every token: neither is quantized, as in QLoRA.
        return "bfloat16" if self.frozen_dtype in QUANTIZED and "layers" not in axes else self.frozen_dtype

    def adapted(self, axes: Mapping[str, Any]) -> list[Path]:
        """Returns the paths of the kernels that get an adapter, sorted.

        Args:
            axes: the model's logical axes, a nested dict of tuples.

        Raises:
            UserError: a pattern matches no kernel of a layer.
        """
        if not self.lora_rank:
            return []
        names = traverse_util.flatten_dict(dict(axes))
        # The layers compute with an addition; the embedding and the output projection do not.
        kernels = [path for path, axis in names.items() if "layers" in path and len(axis) == 3]
        option = "TuningConfig.lora_patterns"
        found = [matched(pattern, kernels, option, "kernel of a layer") for pattern in self.lora_patterns]
        return sorted(set().union(*found))

    def check(self, axes: Mapping[str, Any]) -> None:
        """Checks the patterns against a model.

        Args:
            axes: the model's logical axes, a nested dict of tuples.

        Raises:
            UserError: a pattern matches nothing, a kernel would be trained beside its adapter, or nothing is trained.
        """
        paths = list(traverse_util.flatten_dict(dict(axes)))
        for field in ("train", "freeze"):
            for pattern in getattr(self, field):
                matched(pattern, paths, f"TuningConfig.{field}", "parameter")
        if self.prompt_tokens and "per_layer" in axes:
            raise UserError(
                f"TuningConfig.prompt_tokens is {self.prompt_tokens}, but layers of this model look every token up in a table of "
                "their own, and vectors in front of a row are no tokens. Train adapters instead (TuningConfig.lora_rank)."
            )
        adapted = self.adapted(axes)
        for path in adapted:
            if self.is_trainable(path):
                raise UserError(
                    f"The kernel {'/'.join(path)!r} has an adapter, and TuningConfig.train={self.train!r} trains it as "
                    "well. Take it out of one of the two."
                )
        if not adapted and not self.prompt_tokens and not any(map(self.is_trainable, paths)):
            raise UserError(
                f"TuningConfig.train={self.train!r} and freeze={self.freeze!r} leave nothing to train. Name fewer "
                "parameters in freeze, or others in train."
            )
        if self.frozen_dtype != "float32" and all(map(self.is_trainable, paths)):
            raise UserError(_NOTHING_FROZEN.format(self.frozen_dtype))
        formats = {self.storage_format(path, axis) for path, axis in traverse_util.flatten_dict(dict(axes)).items()}
        if self.frozen_dtype in QUANTIZED and self.frozen_dtype not in formats:
            raise UserError(
                f"TuningConfig.frozen_dtype is {self.frozen_dtype!r}, which quantizes frozen kernels of layers, but train="
                f"{self.train!r} and freeze={self.freeze!r} train all of those. Train adapters (lora_rank), or give "
                "'bfloat16'."
            )
