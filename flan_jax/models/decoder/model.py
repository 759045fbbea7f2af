"""Decoder-only transformer: whole rows for training and scoring, prefill and decode steps for generation.

One network covers GPT-2, Llama, Mistral, Qwen, Gemma, OLMo, SmolLM and ModernBERT's decoders; ``DecoderConfig`` says what differs.

Shapes: B rows of a batch, T length of a row, S length of a prompt, N places in a cache, P continuations,
D model width, G key heads, K width of one head, V vocabulary, L layers.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.errors import UserError
from flan_jax.models.decoder.axes import decoder_axes
from flan_jax.models.decoder.cache import DecoderCache, LayerStates, new_cache, shared_rows
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.kinds import inputs_of_kinds
from flan_jax.models.decoder.layers import LayerInputs, Norm, project, zeros
from flan_jax.models.decoder.mixed import PerLayerInputs
from flan_jax.models.decoder.stacks import init_layers, run_cached, run_rows
from flan_jax.models.ops.activation_sharding import place_rows
from flan_jax.models.ops.activations import ACTIVATIONS
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.lm_head import Head, make_head
from flan_jax.models.ops.rows import take_rows
from flan_jax.models.ops.segments import positions_in_segments
from flan_jax.models.ops.stack import layer_keys, unstack, worth_unstacking
from flan_jax.models.ops.typing import AnyArray, Key
from flan_jax.models.peft.soft_prompt import (
    Prompt,
    positions_after_prompt,
    prompt_at_first_positions,
    prompt_length,
    prompt_padded,
)
from flan_jax.models.protocol import Axes, DecodeState, PromptContext


class Decoder(nnx.Module):
    """A stack of layers between an embedding and the logits; layers are stacked on a leading axis and scanned.

    With a ``prompt`` its vectors stand in front of every row, at the first positions. Callers go on to speak of
    tokens alone: what is given and returned has no places for it, but a cache has.
    """

    prompt: Prompt = None
    layers: Any

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs) -> None:
        width, vocab = config.d_model, config.vocab_size
        self.config = config
        self.embedding = normal(rngs, (vocab, width), width**-0.5)
        if config.position == "learned":
            self.positions = normal(rngs, (config.max_positions, width), width**-0.5)

        for name, stack in init_layers(config, rngs).items():
            setattr(self, name, stack)
        if config.mixed is not None and config.mixed.per_layer_width:
            self.per_layer = PerLayerInputs(config, config.mixed.per_layer_width, rngs=rngs)
        self.norm = Norm(config, width)
        if config.embed_norm:
            self.embed_norm = Norm(config, width)
        if config.head_activation:
            self.head_dense = normal(rngs, (width, width), width**-0.5)
            self.head_norm = Norm(config, width)
        if config.logit_bias:
            self.logit_bias = zeros(vocab)
        if not config.tie_embeddings:
            self.lm_head = normal(rngs, (width, vocab), width**-0.5)

    def __call__(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T V"]:
        """Computes float32 logits of every position; the arguments are those of ``hidden``."""
        return self.logits(self.hidden(batch, dropout_key=dropout_key))

    def hidden(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T D"]:
        """Computes the normed hidden states of every position, in the compute dtype; ``head`` makes logits of them.

        Args:
            batch: ``decoder_input_tokens [B, T]``: before each target token the one it follows, and 0 before the
                first, which is read as ``config.bos_id``, or not at all without ``config.reads_start``. For packed
                rows also ``decoder_segment_ids``; positions are those of ``decoder_positions``, or counted from the
                start of each segment. Without segment ids a row is one example, whose padding behind it changes
                nothing. A prefix model needs ``decoder_causal_attention``, 1 for what is seen in both directions.
            dropout_key: ``None`` computes without dropout.

        Raises:
            UserError: a prefix model without a prefix, or rows longer than the learned positions.
        """
        tokens_BT, config = jnp.asarray(batch["decoder_input_tokens"]), self.config
        segments_BT, positions_BT = batch.get("decoder_segment_ids"), batch.get("decoder_positions")
        if segments_BT is None:
            segments_BT = jnp.ones_like(tokens_BT)
            if positions_BT is None:
                self._check_length(tokens_BT.shape[1] + prompt_length(self.prompt))
        if positions_BT is None:
            positions_BT = positions_in_segments(segments_BT)
        prefix_BT = batch.get("decoder_causal_attention") if config.prefix_lm else None
        if config.prefix_lm and prefix_BT is None:
            raise UserError("A prefix model needs to know the prefix: give decoder_causal_attention with the batch.")
        if self.prompt is not None:  # a row is one example then
            if batch.get("decoder_positions") is None:  # that stand at 0 in padding, where counted ones go on
                self._check_length(tokens_BT.shape[1] + prompt_length(self.prompt))
            tokens_BT, segments_BT = prompt_padded(tokens_BT, self.prompt, 0), prompt_padded(segments_BT, self.prompt)
            positions_BT = positions_after_prompt(positions_BT, self.prompt)
            prefix_BT = None if prefix_BT is None else prompt_padded(prefix_BT, self.prompt)
        x_BTD, _ = self._run(tokens_BT, segments_BT, positions_BT, prefix_BT, dropout_key)
        return self._finish(x_BTD[:, prompt_length(self.prompt) :])

    @property
    def shares_prompts(self) -> bool:
        """Yes, where no token sees those behind it, nothing stands in front of the tokens, and every token has keys of its own."""
        return not self.config.prefix_lm and self.prompt is None and self.config.linear is None

    def prefill(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        lengths_B: Int[AnyArray, "B"],
        max_length: int,
        shared_P: Int[AnyArray, "P"] | None = None,
    ) -> DecodeState:
        """Runs the prompts for decoding, which gives the logits of the first token.

        Args:
            tokens_BS: prompts with padding behind them, as a row's inputs, with the 0 in front of them.
            lengths_B: tokens of each prompt, at most S; rows of length 0 only fill the shape.
            max_length: room for so many tokens after the prompt.
            shared_P: what all prompts begin with, computed once; each prompt has more than S - P tokens.

        Raises:
            UserError: ``max_length`` is below 1, or exceeds the learned positions.
        """
        if max_length < 1:
            raise UserError(f"max_length is {max_length}; decode at least one token.")
        tokens_BS = jnp.asarray(tokens_BS)
        lengths_B = jnp.maximum(jnp.asarray(lengths_B), 1)  # attention needs a key, whatever a row of length 0 gives
        in_front = prompt_length(self.prompt)
        length = in_front + tokens_BS.shape[1]
        self._check_length(length + max_length)
        if shared_P is not None:
            return self._prefill_shared(tokens_BS, lengths_B, max_length, jnp.asarray(shared_P))
        first_B = tokens_BS.shape[1] - lengths_B
        positions_BS = jnp.arange(length)[None] - first_B[:, None]
        segments_BS = (positions_BS >= 0).astype(jnp.int32)
        positions_BS = jnp.maximum(positions_BS, 0)
        tokens_BS = jnp.take_along_axis(tokens_BS, jnp.maximum(positions_BS - in_front, 0), axis=1)
        prefix_BS = segments_BS if self.config.prefix_lm else None
        x_BSD, states = self._run(tokens_BS, segments_BS, positions_BS, prefix_BS, None)
        cache = new_cache(states, first_B, max_length)
        return DecodeState(cache, jnp.zeros_like(lengths_B), self.logits(self._finish(x_BSD[:, -1:]))[:, 0])

    def _prefill_shared(
        self, tokens_BS: Int[Array, "B S"], lengths_B: Int[Array, "B"], max_length: int, shared_P: Int[Array, "P"]
    ) -> DecodeState:
        """As ``prefill``; of each row the last S - P tokens are computed behind the shared ones that stand before them."""
        assert self.shares_prompts, "what prompts share has other keys and values in each"
        count, length = shared_P.shape[0], tokens_BS.shape[1]
        ones = jnp.ones((1, count), jnp.int32)
        _, states = self._run(shared_P[None], ones, jnp.arange(count)[None], None, None)
        # Rows that only fill the shape are as good as others where they have a beginning.
        first_B = length - jnp.where(lengths_B + count > length, lengths_B, length)
        cache = shared_rows(states, first_B, length + max_length)
        rest = jnp.maximum(jnp.arange(count, length)[None] - first_B[:, None], 0)
        x_BTD, states = self._run_cached(cache, jnp.take_along_axis(tokens_BS, rest, axis=1), None)
        cache = cache.with_next(states)
        return DecodeState(cache, jnp.zeros_like(lengths_B), self.logits(self._finish(x_BTD[:, -1:]))[:, 0])

    def prompt_context(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        lengths_B: Int[AnyArray, "B"],
        longest: int,
        shared_P: Int[AnyArray, "P"] | None = None,
    ) -> PromptContext:
        """Runs the prompts for scoring; see ``protocol.Model.prompt_context``."""
        state = self.prefill(tokens_BS, lengths_B, longest, shared_P)
        return PromptContext(state.cache, state.logits)

    def target_logits(
        self, context: PromptContext, rows_P: Int[Array, "P"], targets_PT: Int[Array, "P T"], parts: int = 1
    ) -> Float[Array, "P T V"]:
        """Computes the logits of targets behind cached prompts; see ``protocol.Model.target_logits``."""
        assert context.logits is not None, "the context of another model"
        first_P1V = take_rows(context.logits, rows_P, parts)[:, None]
        if targets_PT.shape[1] == 1:
            return first_P1V
        return jnp.concatenate([first_P1V, self.extend(context.memory, rows_P, targets_PT[:, :-1], parts)], axis=1)

    def decode_step(
        self, cache: DecoderCache, tokens_B: Int[AnyArray, "B"]
    ) -> tuple[Float[Array, "B V"], DecoderCache]:
        """Runs one token a row and returns float32 logits of the next and the updated cache.

        At most as many steps as ``prefill`` made room for.
        """
        x_B1D, states = self._run_cached(cache, jnp.asarray(tokens_B)[:, None], None)
        return self.logits(self._finish(x_B1D))[:, 0], cache.with_next(states)

    def unstack_layers(self, cache: DecoderCache) -> DecoderCache:
        """Takes the layers apart where they are one stack; see ``protocol.Model.unstack_layers``."""
        if self.config.linear is None and self.config.mixed is None and worth_unstacking(self.layers):
            self.layers = unstack(self.layers)
        return cache

    def extend(
        self, cache: DecoderCache, rows_P: Int[AnyArray, "P"], tokens_PT: Int[AnyArray, "P T"], parts: int = 1
    ) -> Float[Array, "P T V"]:
        """Computes float32 logits behind each of T tokens that continue a cached row, in one pass.

        Several continuations of one prompt so share its keys and values. The cache stays as it is.

        Args:
            cache: of ``prefill``, with room for T tokens.
            rows_P: the row that each continuation goes on from.
            tokens_PT: the continuations; what stands behind the end of one changes nothing before it.
            parts: as in ``target_logits``.
        """
        x_PTD, _ = self._run_cached(cache, jnp.asarray(tokens_PT), jnp.asarray(rows_P), parts)
        return self.logits(self._finish(x_PTD))

    def _run_cached(
        self, cache: DecoderCache, tokens_PT: Int[Array, "P T"], rows_P: Int[Array, "P"] | None, parts: int = 1
    ) -> tuple[Float[Array, "P T D"], LayerStates]:
        """As ``_run``, for tokens that continue the cache's rows; ``rows_P=None`` continues every row once."""
        first_P = cache.first if rows_P is None else take_rows(cache.first, rows_P, parts)
        place_N, place_T = jnp.arange(cache.k.shape[2]), cache.place + jnp.arange(tokens_PT.shape[1])
        held_PN = ((place_N >= first_P[:, None]) & (place_N <= place_T[-1])).astype(jnp.int32)
        held_PN = self._mask_empty_start(held_PN, place_N[None] - first_P[:, None])
        positions_PT = self._positions_of_places(place_T[None] - first_P[:, None])
        inputs = self._layer_inputs(jnp.ones_like(positions_PT), held_PN, positions_PT, offset=cache.place)
        x_PTD, own = self._embed(tokens_PT, positions_PT, None)

        def rows(cached: Array) -> Array:
            # Rows are taken a layer at a time: all layers' at once would be the cache once more for each continuation.
            return cached if rows_P is None else take_rows(cached, rows_P, parts)

        return run_cached(self, inputs, x_PTD, own, cache, rows)

    def _run(
        self,
        tokens_BT: Int[Array, "B T"],
        segments_BT: Int[AnyArray, "B T"],
        positions_BT: Int[AnyArray, "B T"],
        prefix_BT: Int[AnyArray, "B T"] | None,
        dropout_key: Key | None,
    ) -> tuple[Float[Array, "B T D"], LayerStates]:
        """Returns the residual stream after all layers, and what they have of the tokens."""
        in_key, layers_key = split_key(dropout_key, 2)
        positions_BT, bos_id = jnp.asarray(positions_BT), self.config.bos_id
        seen_BT = self._mask_empty_start(jnp.asarray(segments_BT), positions_BT)
        if bos_id is not None and self.config.reads_start:
            first_BT = positions_BT == prompt_length(self.prompt)
            tokens_BT = jnp.where(first_BT & (tokens_BT == 0), bos_id, tokens_BT)
        positions_BT = self._positions_of_places(positions_BT)
        inputs = self._layer_inputs(segments_BT, seen_BT, positions_BT, prefix_BT=prefix_BT)
        x_BTD, own = self._embed(tokens_BT, positions_BT, in_key)
        return run_rows(self, inputs, x_BTD, own, seen_BT, layer_keys(layers_key, self.config.num_layers))

    def _mask_empty_start(self, segments_BS: Int[Array, "B S"], places_BS: Int[Array, "B S"]) -> Int[Array, "B S"]:
        """Returns the keys' segment ids with 0 at the empty first place of each example; a soft prompt comes behind it.

        Args:
            places_BS: index of each key in its example.
        """
        if self.config.reads_start:
            return segments_BS
        return jnp.where(places_BS == 0, 0, segments_BS)

    def _positions_of_places(self, places_BT: Int[Array, "B T"]) -> Int[Array, "B T"]:
        """Returns positions from places in an example: an empty first place and the token behind it both have position 0."""
        return places_BT if self.config.reads_start else jnp.maximum(places_BT - 1, 0)

    def _layer_inputs(
        self,
        query_BT: Int[AnyArray, "B T"],
        key_BS: Int[AnyArray, "B S"],
        positions_BT: Int[AnyArray, "B T"],
        *,
        offset: int | Int[Array, ""] = 0,
        prefix_BT: Int[AnyArray, "B T"] | None = None,
    ) -> tuple[LayerInputs, ...]:
        """Returns the inputs of each kind of layers."""
        prefix_BT = None if prefix_BT is None else jnp.asarray(prefix_BT) > 0
        aligned = isinstance(offset, int) and offset == 0 and query_BT.shape == key_BS.shape
        place_T = jnp.arange(query_BT.shape[1]) + offset
        mask = AttentionMask(
            query_BT, key_BS, place_T, query_prefix=prefix_BT, key_prefix=prefix_BT, causal=True, aligned=aligned
        )
        return inputs_of_kinds(self.config, mask, positions_BT)

    def _check_length(self, length: int) -> None:
        if self.config.position == "learned" and length > self.config.max_positions:
            raise UserError(
                f"A row of {length} tokens is longer than the {self.config.max_positions} positions that the model has "
                "learned. Make it shorter."
            )

    def _embed(
        self, tokens_BT: Int[Array, "B T"], positions_BT: Int[Array, "B T"], key: Key | None
    ) -> tuple[Float[Array, "B T D"], Float[Array, "L B T W"] | None]:
        """Returns the embeddings, and what each layer has of the tokens besides, if anything."""
        config, own = self.config, None
        x_BTD = prompt_at_first_positions(
            self.embedding[...][tokens_BT].astype(config.dtype), self.prompt, positions_BT
        )
        if config.embed_scale:
            x_BTD *= jnp.asarray(config.d_model**0.5, config.dtype)
        if config.position == "learned":
            # A position that does not exist must show: as NaN, where clamping would repeat the last.
            x_BTD += self.positions[...].at[positions_BT].get(mode="fill", fill_value=jnp.nan).astype(config.dtype)
        if config.embed_norm:
            x_BTD = self.embed_norm(x_BTD)
        if config.mixed is not None and config.mixed.per_layer_width:
            own = self.per_layer(tokens_BT, x_BTD)
        return dropout(place_rows(x_BTD), config.dropout_rate, key), own

    def _finish(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T d"]:
        """Returns what the output projection reads of the residual stream: normed, a 1 behind it where logits have biases."""
        config, x_BTD = self.config, self.norm(x_BTD)
        if config.head_activation:
            x_BTD = self.head_norm(ACTIVATIONS[config.head_activation](project(x_BTD, self.head_dense, None)))
        if config.logit_bias:
            x_BTD = jnp.pad(x_BTD, ((0, 0), (0, 0), (0, 1)), constant_values=1)
        return x_BTD

    def logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Computes float32 logits: products in the compute dtype, summed in float32."""
        return self.head()(x_BTD)

    def head(self) -> Head:
        """Returns the output projection."""
        tied, cap = self.config.tie_embeddings, self.config.logit_softcap
        kernel = (self.embedding if tied else self.lm_head)[...]
        if not self.config.logit_bias:
            return make_head(kernel, tied=tied, softcap=cap)
        # A column, or a row, that the 1 behind the hidden states reads: losses know of kernels alone.
        bias = self.logit_bias[...][:, None] if tied else self.logit_bias[...][None]
        return make_head(jnp.concatenate([kernel, bias], axis=1 if tied else 0), tied=tied, softcap=cap)

    @staticmethod
    def logical_axes(config: DecoderConfig) -> Axes:
        """Returns the parameters' tree with a tuple of logical axis names for each array; see ``build.logical_axes``."""
        return decoder_axes(config)
