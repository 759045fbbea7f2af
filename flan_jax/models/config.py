"""The configurations of all models; the class of one decides which network it builds (``build.model_class``)."""

from collections.abc import Collection

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5gemma.config import T5GemmaConfig

ModelConfig = T5Config | T5GemmaConfig | DecoderConfig
"""Configuration of an encoder-decoder or of a decoder.

What both answer is ``protocol.SharedConfig``.
"""


def config_class(written: Collection[str]) -> type[ModelConfig]:
    """Returns the class of a configuration of which these fields were written down."""
    if "num_encoder_layers" not in written:
        return DecoderConfig
    return T5GemmaConfig if "merged_attention" in written else T5Config
