"""Configuration of layers with two sizes of attention, of which the last share keys and values (Gemma 4)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from flan_jax.errors import UserError
from flan_jax.typed import Natural, Positive, check_fields


@dataclass(frozen=True)
class MixedAttention:
    """Sizes of attention in layers without the window, and which of the last layers share keys and values.

    Layers come in cycles (``DecoderConfig.window_pattern``): some with the window, a last one without. In all of them
    values are normed without a scale, and what leaves the layer is multiplied by a number of its own, which comes
    with the weights and is not trained.

    Attributes:
        d_head: width of a head in layers without the window.
        num_kv_heads: their key and value heads.
        keys_as_values: their values are the keys as projected, before the norm and the rotation of either.
        shared: so many layers at the end read the keys and values of the last layer of their kind before them.
        shared_d_ff: inner width of their feed-forward layers; ``None`` for that of the others.
        per_layer_width: width of a vector that each layer has of every token, of a table and of the token's
            embedding; 0 for none.

    Raises:
        UserError: a value outside of its range.
    """

    d_head: Positive
    num_kv_heads: Positive
    keys_as_values: bool = False
    shared: Natural = 0
    shared_d_ff: Positive | None = None
    per_layer_width: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.shared_d_ff is not None and not self.shared:
            raise UserError(
                f"MixedAttention: shared_d_ff is {self.shared_d_ff}, of layers that share keys and values, and shared is 0. "
                "Leave it out, or say how many share them."
            )

    def check(self, config: Any) -> None:
        """Refuses a decoder whose other fields leave no room for such layers.

        Args:
            config: the ``DecoderConfig`` that has this.

        Raises:
            UserError: a field.
        """
        pattern = config.window_pattern
        if config.sliding_window is None or len(pattern) < 2 or pattern != (*(True,) * (len(pattern) - 1), False):
            raise UserError(
                f"DecoderConfig: with mixed, layers come in cycles of some with the window and a last one without; sliding_window is "
                f"{config.sliding_window!r} and window_pattern {pattern!r}. Give a window, and (True, …, False)."
            )
        for name, layers in (("num_layers", config.num_layers), ("MixedAttention.shared", self.shared)):
            if layers % len(pattern):
                raise UserError(
                    f"DecoderConfig: {name} is {layers}; with mixed it must be a multiple of the cycle's {len(pattern)} layers."
                )
        if self.shared >= config.num_layers:
            raise UserError(
                f"DecoderConfig: MixedAttention.shared is {self.shared} of {config.num_layers} layers; those that share keys and "
                "values need others before them, which have some."
            )
        plain = {
            "linear": None, "norm_placement": "both", "qk_norm": "head", "position": "rotary", "rope_pattern": (True,),
            "attention_bias": False, "output_bias": False, "gated_attention": False, "prefix_lm": False,
        }  # fmt: skip
        for name, value in plain.items():
            if getattr(config, name) != value:
                raise UserError(
                    f"DecoderConfig: {name} is {getattr(config, name)!r}; with mixed it has to be {value!r}, as in the only "
                    "models that have such layers."
                )
        self.kinds(config)

    def kinds(self, config: Any) -> tuple[Any, Any]:
        """Returns the configurations of layers with the window and of layers without, each as of a stack of its own."""
        full: dict[str, Any] = {
            "sliding_window": None, "local_rope_theta": None, "d_head": self.d_head, "num_kv_heads": self.num_kv_heads
        }  # fmt: skip
        alone = {"mixed": None, "window_pattern": (True,)}
        return dataclasses.replace(config, **alone), dataclasses.replace(config, **alone, **full)


def layer_numbers(config: Any, mixed: MixedAttention) -> dict[str, list[int]]:
    """Returns which layers lie in which stack: with the window (``layers``) and without (``full``), and those that share."""
    every, own = len(config.window_pattern), config.num_layers - mixed.shared
    numbers: dict[str, list[int]] = {"layers": [], "full": [], "shared": [], "shared_full": []}
    for layer in range(config.num_layers):
        name = "full" if (layer + 1) % every == 0 else "layers"
        numbers[name if layer < own else {"layers": "shared", "full": "shared_full"}[name]].append(layer)
    return {name: found for name, found in numbers.items() if found}
