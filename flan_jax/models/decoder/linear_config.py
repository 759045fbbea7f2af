"""Configuration of layers with a state in the place of attention (Qwen 3.5)."""

from dataclasses import dataclass
from typing import Any

from flan_jax.errors import UserError
from flan_jax.typed import Positive, check_fields


@dataclass(frozen=True)
class LinearAttention:
    """Sizes of the gated delta rule that most layers have in the place of attention.

    Attributes:
        key_heads: heads of queries and keys, each for ``value_heads / key_heads`` heads of values.
        value_heads: heads of values, each with a state.
        d_key: width of a query or key.
        d_value: width of a value.
        conv_width: tokens that the convolution in front of them spans.
        every: one layer of so many, the last, has attention.

    Raises:
        UserError: a value outside of its range.
    """

    key_heads: Positive
    value_heads: Positive
    d_key: Positive
    d_value: Positive
    conv_width: Positive = 4
    every: Positive = 4

    def __post_init__(self) -> None:
        check_fields(self)
        if self.value_heads % self.key_heads:
            raise UserError(
                f"LinearAttention: value_heads is {self.value_heads}; it must be a multiple of key_heads ({self.key_heads})."
            )
        for name in ("conv_width", "every"):
            if getattr(self, name) < 2:
                raise UserError(f"LinearAttention: {name} is {getattr(self, name)}; give at least 2.")

    def check(self, config: Any) -> None:
        """Refuses a decoder whose other fields leave no room for layers with a state.

        Args:
            config: the ``DecoderConfig`` that has this.

        Raises:
            UserError: a field.
        """
        if config.num_layers % self.every:
            raise UserError(
                f"DecoderConfig: num_layers is {config.num_layers}; with linear it must be a multiple of LinearAttention.every "
                f"({self.every})."
            )
        plain = {
            "sliding_window": None,
            "rope_pattern": (True,),
            "first_norm": True,
            "prefix_lm": False,
            "norm_placement": "pre",
        }
        for name, value in plain.items():
            if getattr(config, name) != value:
                raise UserError(
                    f"DecoderConfig: {name} is {getattr(config, name)!r}; with linear it has to be {value!r}: a state is read in one "
                    "direction, by layers of one kind."
                )

    @property
    def key_width(self) -> int:
        """Width of all keys side by side."""
        return self.key_heads * self.d_key

    @property
    def value_width(self) -> int:
        """Width of all values side by side."""
        return self.value_heads * self.d_value

    @property
    def channels(self) -> int:
        """Width of queries, keys and values side by side, as the convolution reads them."""
        return 2 * self.key_width + self.value_width
