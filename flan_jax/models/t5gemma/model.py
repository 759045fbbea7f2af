"""T5Gemma 1 and 2: the whole forward pass and decoding step by step.

Shapes: B rows of a batch, T decoder length, S encoder length, R rows of a cache (B times the beams), D the decoder's
width, E the encoder's, G key heads, K width of one head, N places in a cache, V vocabulary, L layers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.errors import UserError
from flan_jax.models.decoder.axes import layer_axes, norm_axes
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.kinds import inputs_of_kinds, scan_kinds
from flan_jax.models.decoder.layers import CausalLayer, LayerInputs, Norm
from flan_jax.models.ops.attention_mask import AttentionMask, length_segments, segment_mask
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.lm_head import Head, make_head
from flan_jax.models.ops.rows import take_rows
from flan_jax.models.ops.segments import positions_in_segments, with_start_token
from flan_jax.models.ops.stack import (
    PerLayer,
    init_stack,
    layer_keys,
    scan_stack,
    unstack,
    worth_unstacking,
    write_cache,
)
from flan_jax.models.ops.typing import AnyArray, Key
from flan_jax.models.peft.soft_prompt import Prompt, prepend_prompt, prompt_padded
from flan_jax.models.protocol import Axes, DecodeState, PromptContext
from flan_jax.models.t5gemma.config import T5GemmaConfig
from flan_jax.models.t5gemma.layers import T5GemmaDecoderLayer


class T5GemmaCache(NamedTuple):
    """KV cache: a pytree of fixed shapes that a ``lax.while_loop`` can carry.

    Attributes:
        self_k, self_v: keys and values of the tokens decoded so far, ``[L, R, N, G, K]`` for at most N tokens.
        cross_k, cross_v: keys and values of the encoded inputs, ``[L, B, S, G, K]``.
        cross_segments: 1 where there is an encoded input, ``[B, S]``.
        step: int32 scalar, how many tokens were decoded.

    Several rows may decode from one encoded input, such as the beams of a search.
    """

    self_k: Float[Array, "L R N G K"]
    self_v: Float[Array, "L R N G K"]
    cross_k: Float[Array, "L B S G K"] | PerLayer
    cross_v: Float[Array, "L B S G K"] | PerLayer
    cross_segments: Int[Array, "B S"]
    step: Int[Array, ""]

    @property
    def beam_axes(self) -> dict[str, int]:
        """Fields that beams reorder, each with its batch axis."""
        return {"self_k": 1, "self_v": 1}


class T5GemmaStack(nnx.Module):
    """The layers of one side, and the norm after the last."""

    def __init__(self, config: DecoderConfig, make: Any, rngs: nnx.Rngs, *, embedding: bool = False) -> None:
        if embedding:
            self.embedding = normal(rngs, (config.vocab_size, config.d_model), config.d_model**-0.5)
        self.layers = init_stack(make, config.num_layers, rngs)
        self.norm = Norm(config, config.d_model)


class T5Gemma(nnx.Module):
    """T5Gemma 1 or 2, as the configuration says; text only.

    ``embedding`` is the encoder's table, and of a T5Gemma 2 the decoder's too. With a ``prompt`` the encoder reads its
    vectors in front of the inputs, and what it says of them is there for the decoder as well. Callers go on to speak of
    the inputs alone, in lengths and segment ids.
    """

    prompt: Prompt = None

    def __init__(self, config: T5GemmaConfig, *, rngs: nnx.Rngs) -> None:
        encoder, decoder, width = config.encoder, config.decoder, config.encoder.d_model
        self.config = config
        self.embedding = normal(rngs, (config.vocab_size, width), width**-0.5)
        if config.eoi_id is not None:
            self.eoi_embedding = normal(rngs, (width,), 1.0)
        self.encoder = T5GemmaStack(encoder, lambda rngs: CausalLayer(encoder, rngs=rngs), rngs)

        def layer(rngs: nnx.Rngs) -> T5GemmaDecoderLayer:
            return T5GemmaDecoderLayer(decoder, width, merged=config.merged_attention, rngs=rngs)

        self.decoder = T5GemmaStack(decoder, layer, rngs, embedding=not config.shared_embedding)
        if not config.tie_embeddings:
            self.lm_head = normal(rngs, (config.d_model, config.vocab_size), config.d_model**-0.5)

    def __call__(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T V"]:
        """Computes float32 logits of every decoder position; the arguments are those of ``hidden``."""
        return self.logits(self.hidden(batch, dropout_key=dropout_key))

    def hidden(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T D"]:
        """Computes the decoder's hidden states, in the compute dtype; ``head`` makes logits of them.

        Args:
            batch: ``encoder_input_tokens [B, S]`` and ``decoder_input_tokens [B, T]``, of which 0 at the first place of an
                example stands for ``config.decoder_start_id``; for packed rows also
                ``encoder_segment_ids`` and ``decoder_segment_ids``, where tokens of a segment stand together and
                positions count from its first. Without segment ids a row is one example: padding of the inputs is told
                by ``config.pad_id``, and padding behind the targets changes nothing before it.
            dropout_key: ``None`` computes without dropout.
        """
        encoder_key, decoder_key = split_key(dropout_key, 2)
        tokens_BS, segments_BS = batch["encoder_input_tokens"], batch.get("encoder_segment_ids")
        if segments_BS is None:
            segments_BS = (jnp.asarray(tokens_BS) != self.config.pad_id).astype(jnp.int32)
        encoded_BSE = self.encode(tokens_BS, segments_BS, dropout_key=encoder_key)
        segments_BT = batch.get("decoder_segment_ids")
        tokens_BT = with_start_token(batch["decoder_input_tokens"], segments_BT, self.config.decoder_start_id)
        return self.decode_hidden(tokens_BT, encoded_BSE, segments_BS, segments_BT, dropout_key=decoder_key)

    def encode(
        self, tokens_BS: Int[AnyArray, "B S"], segment_ids_BS: Int[AnyArray, "B S"], *, dropout_key: Key | None = None
    ) -> Float[Array, "B S E"]:
        """Computes the encoder's output, that of a soft prompt first. Values at padding are finite and meaningless.

        Args:
            segment_ids_BS: 0 for padding, 1 … for the examples packed in a row.
        """
        config, side = self.config, self.config.encoder
        in_key, layers_key, out_key = split_key(dropout_key, 3)
        segment_ids_BS = prompt_padded(segment_ids_BS, self.prompt)
        x_BSE = dropout(self._embed(tokens_BS, self.prompt), config.dropout_rate, in_key)
        back, ahead = config.encoder_window or (None, None)
        mask = segment_mask(segment_ids_BS, segment_ids_BS)
        inputs = inputs_of_kinds(side, mask, positions_in_segments(segment_ids_BS), ahead, back)

        def step(layer: CausalLayer, x_BSE: Array, inputs: LayerInputs, key: Key | None) -> tuple[Array, None]:
            return layer(x_BSE, inputs, key)[0], None

        keys = layer_keys(layers_key, side.num_layers)
        x_BSE, _ = scan_kinds(self.encoder.layers, side, inputs, step, x_BSE, keys)
        return dropout(self.encoder.norm(x_BSE), config.dropout_rate, out_key)

    def decode_hidden(
        self,
        tokens_BT: Int[AnyArray, "B T"],
        encoded_BSE: Float[Array, "B S E"],
        encoder_segment_ids_BS: Int[AnyArray, "B S"],
        segment_ids_BT: Int[AnyArray, "B T"] | None = None,
        *,
        dropout_key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Computes the decoder's hidden states for its inputs, with causal self-attention.

        Args:
            segment_ids_BT: by default all positions belong to example 1; padding behind it changes nothing, because no
                earlier position sees it.
        """
        config, side = self.config, self.config.decoder
        tokens_BT = jnp.asarray(tokens_BT)
        segments_BT = jnp.ones_like(tokens_BT) if segment_ids_BT is None else jnp.asarray(segment_ids_BT)
        in_key, layers_key, out_key = split_key(dropout_key, 3)
        seen_BS = prompt_padded(encoder_segment_ids_BS, self.prompt)
        mask = segment_mask(segments_BT, segments_BT, causal=True)
        inputs = inputs_of_kinds(side, self._with_encoded(mask, seen_BS), positions_in_segments(segments_BT))
        encoded_mask = segment_mask(segments_BT, seen_BS)

        def step(layer: T5GemmaDecoderLayer, x_BTD: Array, inputs: LayerInputs, key: Key | None) -> tuple[Array, None]:
            return layer(x_BTD, inputs, layer.encoded_keys_values(encoded_BSE), encoded_mask, key)[0], None

        x_BTD = dropout(self._embed_targets(tokens_BT), config.dropout_rate, in_key)
        keys = layer_keys(layers_key, side.num_layers)
        x_BTD, _ = scan_kinds(self.decoder.layers, side, inputs, step, x_BTD, keys)
        return dropout(self.decoder.norm(x_BTD), config.dropout_rate, out_key)

    def _with_encoded(self, mask: AttentionMask, encoded_BS: Int[Array, "B S"]) -> AttentionMask:
        """Returns the mask of the decoder's own keys, with those of the encoded inputs behind them where attention is merged."""
        if not self.config.merged_attention:
            return mask
        own = jnp.asarray(mask.key)
        rows = jnp.broadcast_to(own, (encoded_BS.shape[0], own.shape[1]))
        unordered = jnp.arange(own.shape[1] + encoded_BS.shape[1]) >= own.shape[1]
        keys = jnp.concatenate([rows, encoded_BS], axis=1)
        return AttentionMask(mask.query, keys, mask.query_index, unordered=unordered, causal=True)

    @property
    def shares_prompts(self) -> bool:
        """No: an encoder sees the whole prompt from each of its tokens."""
        return False

    def prefill(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        lengths_B: Int[AnyArray, "B"],
        max_length: int,
        shared_P: Int[AnyArray, "P"] | None = None,
    ) -> DecodeState:
        """Encodes the prompts for decoding; see ``protocol.Model.prefill``."""
        assert shared_P is None, "an encoder computes whole prompts"
        if max_length < 1:
            raise UserError(f"max_length is {max_length}; decode at least one token.")
        segment_ids_BS = length_segments(lengths_B, tokens_BS.shape[1])
        encoded_BSE = self.encode(tokens_BS, segment_ids_BS)

        def step(layer: T5GemmaDecoderLayer, carry: None, _: None) -> tuple[None, tuple[Array, Array]]:
            return carry, layer.encoded_keys_values(encoded_BSE)

        _, (cross_k, cross_v) = scan_stack(self.decoder.layers, step, None)
        empty = jnp.zeros((*cross_k.shape[:2], max_length, *cross_k.shape[3:]), cross_k.dtype)
        seen_BS = prompt_padded(segment_ids_BS, self.prompt)
        cache = T5GemmaCache(empty, empty, cross_k, cross_v, seen_BS, jnp.zeros((), jnp.int32))
        return DecodeState(cache, jnp.full_like(lengths_B, self.config.decoder_start_id), None)

    def prompt_context(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        lengths_B: Int[AnyArray, "B"],
        longest: int,
        shared_P: Int[AnyArray, "P"] | None = None,
    ) -> PromptContext:
        """Encodes the prompts for scoring; see ``protocol.Model.prompt_context``."""
        assert shared_P is None, "an encoder computes whole prompts"
        segment_ids_BS = length_segments(lengths_B, tokens_BS.shape[1])
        return PromptContext((self.encode(tokens_BS, segment_ids_BS), segment_ids_BS), None)

    def target_logits(
        self, context: PromptContext, rows_P: Int[Array, "P"], targets_PT: Int[Array, "P T"], parts: int = 1
    ) -> Float[Array, "P T V"]:
        """Computes the logits of targets behind encoded prompts; see ``protocol.Model.target_logits``."""
        start_P1 = jnp.full_like(targets_PT[:, :1], self.config.decoder_start_id)
        before_PT = jnp.concatenate([start_P1, targets_PT[:, :-1]], axis=1)
        encoded_PSE, segment_ids_PS = (take_rows(rows, rows_P, parts) for rows in context.memory)
        return self.logits(self.decode_hidden(before_PT, encoded_PSE, segment_ids_PS))

    def decode_step(
        self, cache: T5GemmaCache, tokens_R: Int[AnyArray, "R"]
    ) -> tuple[Float[Array, "R V"], T5GemmaCache]:
        """Runs one token a row and returns float32 logits of the next and the updated cache.

        The first token is ``config.decoder_start_id``. At most as many steps as the cache has room for.
        """
        side, rows, inputs_count = self.config.decoder, tokens_R.shape[0], cache.cross_segments.shape[0]
        ones_R1 = jnp.ones((rows, 1), jnp.int32)
        place_N = jnp.arange(cache.self_k.shape[2])
        held_RN = jnp.broadcast_to(place_N <= cache.step, (rows, place_N.size)).astype(jnp.int32)
        mask = AttentionMask(ones_R1, held_RN, cache.step[None], causal=True)
        seen_RS = jnp.repeat(cache.cross_segments, rows // inputs_count, axis=0)
        inputs = inputs_of_kinds(side, self._with_encoded(mask, seen_RS), ones_R1 * cache.step)
        encoded_mask = segment_mask(ones_R1.reshape(inputs_count, -1), cache.cross_segments)

        def step(layer: T5GemmaDecoderLayer, x_R1D: Array, inputs: LayerInputs, cached: tuple[Array, ...]) -> Any:
            def held(k: Array, v: Array) -> tuple[Array, Array]:
                return write_cache(cached[0], k, cache.step, 1), write_cache(cached[1], v, cache.step, 1)

            x_R1D, k, v = layer(x_R1D, inputs, (cached[2], cached[3]), encoded_mask, held=held)
            return x_R1D, (k, v)

        # Only what this token adds leaves the scan: the large arrays are updated once, in place.
        x_R1D = self._embed_targets(tokens_R[:, None])
        x_R1D, (k, v) = scan_kinds(self.decoder.layers, side, inputs, step, x_R1D, cache[:4])
        cache = cache._replace(
            self_k=write_cache(cache.self_k, k, cache.step, 2),
            self_v=write_cache(cache.self_v, v, cache.step, 2),
            step=cache.step + 1,
        )
        return self.logits(self.decoder.norm(x_R1D))[:, 0], cache

    def unstack_layers(self, cache: T5GemmaCache) -> T5GemmaCache:
        """Takes the decoder's layers apart, and what they read of the encoded inputs; see ``protocol.Model.unstack_layers``."""
        if not worth_unstacking(self.decoder.layers):
            return cache
        self.decoder.layers = unstack(self.decoder.layers)
        cross_k, cross_v = (PerLayer(stacked) for stacked in (cache.cross_k, cache.cross_v))
        return cache._replace(cross_k=cross_k, cross_v=cross_v)

    def _embed_targets(self, tokens_BT: Int[AnyArray, "B T"]) -> Float[Array, "B T D"]:
        return (
            self._embed(tokens_BT) if self.config.shared_embedding else self._scaled(self.decoder.embedding, tokens_BT)
        )

    def _embed(self, tokens_BS: Int[AnyArray, "B S"], prompt: Prompt = None) -> Float[Array, "B S E"]:
        """Embeds tokens by the encoder's table; the end-of-image token has a vector of its own."""
        x_BSE, eoi_id = self._scaled(self.embedding, tokens_BS, prompt), self.config.eoi_id
        if eoi_id is None:
            return x_BSE
        is_eoi_BS1 = (prompt_padded(tokens_BS, prompt, -1) == eoi_id)[..., None]
        return jnp.where(is_eoi_BS1, self.eoi_embedding[...].astype(x_BSE.dtype), x_BSE)

    def _scaled(self, table: nnx.Param, tokens_BS: Int[AnyArray, "B S"], prompt: Prompt = None) -> Array:
        x = prepend_prompt(table[...][tokens_BS].astype(self.config.dtype), prompt)
        return x * jnp.asarray(x.shape[-1] ** 0.5, x.dtype)

    def logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Computes float32 logits: products in the compute dtype, summed in float32."""
        return self.head()(x_BTD)

    def head(self) -> Head:
        """Returns the output projection."""
        cap = self.config.logit_softcap
        if not self.config.tie_embeddings:
            return make_head(self.lm_head[...], tied=False, softcap=cap)
        table = self.embedding if self.config.shared_embedding else self.decoder.embedding
        return make_head(table[...], tied=True, softcap=cap)

    @staticmethod
    def logical_axes(config: T5GemmaConfig) -> Axes:
        """Returns the parameters' tree with a tuple of logical axis names for each array; see ``build.logical_axes``."""
        encoder: Axes = {"layers": layer_axes(config.encoder), "norm": norm_axes(config.encoder, ("embed",))}
        decoder: Axes = {"layers": layer_axes(config.decoder), "norm": norm_axes(config.decoder, ("embed",))}
        if not config.merged_attention:
            decoder["layers"]["cross_attention"] = dict(decoder["layers"]["attention"])
        axes: Axes = {"embedding": ("vocab", "embed"), "encoder": encoder, "decoder": decoder}
        if config.eoi_id is not None:
            axes["eoi_embedding"] = ("embed",)
        if not config.shared_embedding:
            decoder["embedding"] = ("vocab", "embed")
        if not config.tie_embeddings:
            axes["lm_head"] = ("embed", "vocab")
        return axes
