"""The configurations of all models; the class of one decides which network it builds (``build.model_class``)."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.t5.config import T5Config

ModelConfig = T5Config | DecoderConfig
"""Configuration of an encoder-decoder or of a decoder.

What both answer is ``protocol.SharedConfig``.
"""
