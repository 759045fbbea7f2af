"""T5, an encoder-decoder transformer: the whole forward pass and decoding step by step.

Shapes: B rows of a batch, T decoder length, S encoder length, D model width, H heads, K width of one
head, V vocabulary, L layers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.errors import UserError
from flan_jax.models.ops.activation_sharding import place_rows, row_groups
from flan_jax.models.ops.attention_mask import length_segments, segment_mask
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.lm_head import Head, make_head
from flan_jax.models.ops.rows import take_rows
from flan_jax.models.ops.segments import with_start_token
from flan_jax.models.ops.stack import PerLayer, unstack, worth_unstacking, write_cache
from flan_jax.models.ops.typing import AnyArray, Key
from flan_jax.models.peft.soft_prompt import Prompt, positions_after_prompt, prepend_prompt, prompt_padded
from flan_jax.models.protocol import Axes, DecodeState, PromptContext
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5.stack import DecoderLayer, EncoderLayer, Stack


class T5Cache(NamedTuple):
    """KV cache: a pytree of fixed shapes that a ``lax.while_loop`` can carry.

    Attributes:
        self_k, self_v: keys and values of the tokens decoded so far, ``[L, B, H, N, K]`` for at most N tokens.
        cross_k, cross_v: keys and values of the encoded inputs, ``[L, B, H, S, K]``.
        cross_segments: 1 where there is an encoded input, ``[B, S]``.
        step: int32 scalar, how many tokens were decoded.

    Several rows may decode from one encoded input, such as the beams of a search. They then have
    self-attention rows of their own, side by side for each input, and read its cross rows together.
    """

    self_k: Float[Array, "L B H N K"]
    self_v: Float[Array, "L B H N K"]
    cross_k: Float[Array, "L B H S K"] | PerLayer
    cross_v: Float[Array, "L B H S K"] | PerLayer
    cross_segments: Int[Array, "B S"]
    step: Int[Array, ""]

    @property
    def beam_axes(self) -> dict[str, int]:
        """Fields that beams reorder, each with its batch axis."""
        return {"self_k": 1, "self_v": 1}


class T5(nnx.Module):
    """T5 1.0 or 1.1, as the configuration says.

    Initial values are those of Mesh-TF T5 as transformers states them: normal, with standard deviation
    ``d_model ** -0.5`` for what reads the residual stream (queries additionally ``d_kv ** -0.5``),
    ``width ** -0.5`` for what writes to it, 1 for embeddings. An untied output projection starts at
    ``d_model ** -0.5``, as in T5X: logits of size 1 rather than ``sqrt(d_model)``.

    With a ``prompt`` the encoder reads its vectors in front of the inputs, and what it says of them is there for
    the decoder as well. Callers go on to speak of the inputs alone, in lengths and segment ids.
    """

    prompt: Prompt = None

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        width, vocab, factor = config.d_model, config.vocab_size, config.initializer_factor
        self.config = config
        self.embedding = normal(rngs, (vocab, width), factor)
        self.encoder = Stack(config, EncoderLayer, config.num_encoder_layers, rngs=rngs)
        self.decoder = Stack(config, DecoderLayer, config.num_decoder_layers, rngs=rngs)
        if not config.tie_embeddings:
            self.lm_head = normal(rngs, (width, vocab), factor * width**-0.5)

    def __call__(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T V"]:
        """Computes float32 logits of every decoder position; the arguments are those of ``hidden``."""
        return self.logits(self.hidden(batch, dropout_key=dropout_key))

    def hidden(self, batch: Mapping[str, Any], *, dropout_key: Key | None = None) -> Float[Array, "B T D"]:
        """Computes the decoder's hidden states, in the compute dtype; ``head`` makes logits of them.

        Args:
            batch: ``encoder_input_tokens [B, S]`` and ``decoder_input_tokens [B, T]``, of which 0 at the first place of
                an example stands for ``config.decoder_start_id``; for packed rows also ``encoder_segment_ids`` and
                ``decoder_segment_ids``. Without segment ids, padding is told by ``config.pad_id``: in the decoder by
                ``decoder_target_tokens`` where the batch has them, because its first input token usually is the
                padding token.
            dropout_key: ``None`` computes without dropout.
        """
        encoder_key, decoder_key = split_key(dropout_key, 2)
        encoder_tokens, decoder_tokens = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
        encoder_segments = batch.get("encoder_segment_ids")
        if encoder_segments is None:
            encoder_segments = self._segments(encoder_tokens)
        decoder_segments = batch.get("decoder_segment_ids")
        if decoder_segments is None and batch.get("decoder_target_tokens") is not None:
            decoder_segments = self._segments(batch["decoder_target_tokens"])
        decoder_tokens = with_start_token(decoder_tokens, decoder_segments, self.config.decoder_start_id)
        encoded = self.encode(encoder_tokens, encoder_segments, dropout_key=encoder_key)
        return self.decode_hidden(decoder_tokens, encoded, encoder_segments, decoder_segments, dropout_key=decoder_key)

    def encode(
        self,
        tokens_BS: Int[AnyArray, "B S"],
        segment_ids_BS: Int[AnyArray, "B S"] | None = None,
        positions_BS: Int[AnyArray, "B S"] | None = None,
        *,
        dropout_key: Key | None = None,
    ) -> Float[Array, "B S D"]:
        """Computes the encoder's output, that of a soft prompt first. Values at padding are finite and meaningless.

        Args:
            segment_ids_BS: 0 for padding, 1 … for the examples packed in a row; by default every token
                that is not ``config.pad_id`` belongs to one example.
            positions_BS: only for rows in which the distance of two tokens of an example is not the
                difference of their indices; costs a position bias for every row.
        """
        if segment_ids_BS is None:
            segment_ids_BS = self._segments(tokens_BS)
        in_key, layers_key, out_key = split_key(dropout_key, 3)
        x_BSD = self._embed(tokens_BS, in_key, self.prompt)
        segment_ids_BS = prompt_padded(segment_ids_BS, self.prompt)
        mask = segment_mask(segment_ids_BS, segment_ids_BS)
        if positions_BS is not None:
            positions_BS = positions_after_prompt(positions_BS, self.prompt)
        position = self.encoder.position_bias(x_BSD.shape[1], positions_BS, self._bias_groups(len(x_BSD)))

        def step(layer: EncoderLayer, x_BSD: Array, key: Key | None) -> tuple[Array, None]:
            return layer(x_BSD, position, mask, key), None

        keys = self.encoder.layer_keys(layers_key)
        x_BSD, _ = self.encoder.scan(x_BSD, step, keys, remat=self.config.remat)
        return dropout(self.encoder.norm(x_BSD), self.config.dropout_rate, out_key)

    def decode(
        self,
        tokens_BT: Int[AnyArray, "B T"],
        encoded_BSD: Float[Array, "B S D"],
        encoder_segment_ids_BS: Int[AnyArray, "B S"],
        segment_ids_BT: Int[AnyArray, "B T"] | None = None,
        positions_BT: Int[AnyArray, "B T"] | None = None,
    ) -> Float[Array, "B T V"]:
        """Computes float32 logits for decoder inputs; the arguments are those of ``decode_hidden``."""
        return self.logits(
            self.decode_hidden(tokens_BT, encoded_BSD, encoder_segment_ids_BS, segment_ids_BT, positions_BT)
        )

    def decode_hidden(
        self,
        tokens_BT: Int[AnyArray, "B T"],
        encoded_BSD: Float[Array, "B S D"],
        encoder_segment_ids_BS: Int[AnyArray, "B S"],
        segment_ids_BT: Int[AnyArray, "B T"] | None = None,
        positions_BT: Int[AnyArray, "B T"] | None = None,
        *,
        dropout_key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Computes the decoder's hidden states for its inputs, with causal self-attention.

        Args:
            segment_ids_BT: by default all positions belong to example 1; padding behind it changes
                nothing, because no earlier position sees it.
            positions_BT: as in ``encode``.
        """
        if segment_ids_BT is None:
            segment_ids_BT = jnp.ones_like(tokens_BT)
        in_key, layers_key, out_key = split_key(dropout_key, 3)
        x_BTD = self._embed(tokens_BT, in_key)
        mask = segment_mask(segment_ids_BT, segment_ids_BT, causal=True)
        position = self.decoder.position_bias(tokens_BT.shape[1], positions_BT, self._bias_groups(len(x_BTD)))
        cross_mask = segment_mask(segment_ids_BT, prompt_padded(encoder_segment_ids_BS, self.prompt))

        def step(layer: DecoderLayer, x_BTD: Array, key: Key | None) -> tuple[Array, None]:
            return layer(x_BTD, encoded_BSD, position, mask, cross_mask, key), None

        keys = self.decoder.layer_keys(layers_key)
        x_BTD, _ = self.decoder.scan(x_BTD, step, keys, remat=self.config.remat)
        return dropout(self.decoder.norm(x_BTD), self.config.dropout_rate, out_key)

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
        segment_ids_BS = length_segments(lengths_B, tokens_BS.shape[1])
        cache = self.init_cache(self.encode(tokens_BS, segment_ids_BS), segment_ids_BS, max_length)
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
        encoded_PSD, segment_ids_PS = (take_rows(rows, rows_P, parts) for rows in context.memory)
        return self.decode(before_PT, encoded_PSD, segment_ids_PS)

    def init_cache(
        self, encoded_BSD: Float[Array, "B S D"], encoder_segment_ids_BS: Int[AnyArray, "B S"], max_length: int
    ) -> T5Cache:
        """Creates an empty cache for at most ``max_length`` decoded tokens; rows hold one example each (segment 1).

        Raises:
            UserError: ``max_length`` is below 1.
        """
        if max_length < 1:
            raise UserError(f"max_length is {max_length}; decode at least one token.")

        def step(layer: DecoderLayer, carry: None, _: None) -> tuple[None, tuple[Array, Array]]:
            return carry, layer.cross_attention.keys_values(encoded_BSD)

        _, (cross_k, cross_v) = self.decoder.scan(None, step)
        empty = jnp.zeros((*cross_k.shape[:3], max_length, cross_k.shape[4]), cross_k.dtype)
        first_BS = (prompt_padded(jnp.asarray(encoder_segment_ids_BS), self.prompt) == 1).astype(jnp.int32)
        return T5Cache(empty, empty, cross_k, cross_v, first_BS, jnp.zeros((), jnp.int32))

    def decode_step(self, cache: T5Cache, tokens_B: Int[AnyArray, "B"]) -> tuple[Float[Array, "B V"], T5Cache]:
        """Runs one token a row and returns float32 logits of the next and the updated cache.

        The first token is ``config.decoder_start_id``. At most as many steps as the cache has room for.
        There is a token for each row of ``self_k``: one an encoded input, or as many for each.
        """
        x_B1D = self._embed(tokens_B[:, None], None)
        place = jnp.arange(cache.self_k.shape[3])[None]
        position = self.decoder.bias.between(cache.step[None, None], place)
        mask = segment_mask(jnp.ones((1, 1), jnp.int32), (place <= cache.step).astype(jnp.int32))

        def step(layer: DecoderLayer, x_B1D: Array, cached: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
            self_k, self_v, cross_k, cross_v = cached
            attention, cross = layer.attention, layer.cross_attention
            normed = attention.norm(x_B1D)
            k_BH1K, v_BH1K = attention.keys_values(normed)
            self_k, self_v = write_cache(self_k, k_BH1K, cache.step, 2), write_cache(self_v, v_BH1K, cache.step, 2)
            x_B1D += attention.attend(attention.queries(normed), self_k, self_v, position, mask)
            # Rows that share an encoded input are so many queries of it.
            cross_input = cross.norm(x_B1D).reshape(cross_k.shape[0], -1, x_B1D.shape[-1])
            cross_mask = segment_mask(jnp.ones((1, cross_input.shape[1]), jnp.int32), cache.cross_segments)
            cross_output = cross.attend(cross.queries(cross_input), cross_k, cross_v, None, cross_mask)
            x_B1D += cross_output.reshape(x_B1D.shape)
            return x_B1D + layer.mlp(x_B1D), (k_BH1K, v_BH1K)

        # Only what this token adds leaves the scan: the large arrays are updated once, in place.
        x_B1D, (k, v) = self.decoder.scan(x_B1D, step, cache[:4])
        cache = cache._replace(
            self_k=write_cache(cache.self_k, k, cache.step, 3),
            self_v=write_cache(cache.self_v, v, cache.step, 3),
            step=cache.step + 1,
        )
        return self.logits(self.decoder.norm(x_B1D))[:, 0], cache

    def unstack_layers(self, cache: T5Cache) -> T5Cache:
        """Takes the decoder's layers apart, and what they read of the encoded inputs; see ``protocol.Model.unstack_layers``."""
        if not worth_unstacking(self.decoder.layers):
            return cache
        self.decoder.layers = unstack(self.decoder.layers)
        cross_k, cross_v = (PerLayer(stacked) for stacked in (cache.cross_k, cache.cross_v))
        return cache._replace(cross_k=cross_k, cross_v=cross_v)

    def _bias_groups(self, rows: int) -> int:
        # Chunks of rows take a bias for all rows or for each.
        return 1 if self.config.attention == "batch_chunked" else row_groups(rows)

    def _segments(self, tokens: Int[AnyArray, "B T"]) -> Int[Array, "B T"]:
        return (jnp.asarray(tokens) != self.config.pad_id).astype(jnp.int32)

    def _embed(self, tokens_BT: Int[AnyArray, "B T"], key: Key | None, prompt: Prompt = None) -> Float[Array, "B T D"]:
        x_BTD = prepend_prompt(self.embedding[...][tokens_BT].astype(self.config.dtype), prompt)
        return dropout(place_rows(x_BTD), self.config.dropout_rate, key)

    def logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Computes float32 logits: products in the compute dtype, summed in float32."""
        return self.head()(x_BTD)

    def head(self) -> Head:
        """Returns the output projection."""
        if self.config.tie_embeddings:
            return make_head(self.embedding[...], tied=True, scale=self.config.d_model**-0.5)
        return make_head(self.lm_head[...], tied=False)

    @staticmethod
    def logical_axes(config: T5Config) -> Axes:
        """Returns the parameters' tree with a tuple of logical axis names for each array; see ``build.logical_axes``."""
        attention = {
            "norm": {"scale": ("layers", "embed")},
            "q": ("layers", "embed", "heads"),
            "k": ("layers", "embed", "heads"),
            "v": ("layers", "embed", "heads"),
            "o": ("layers", "heads", "embed"),
        }
        into = ("wi_0", "wi_1") if config.gated else ("wi",)
        mlp = {
            "norm": {"scale": ("layers", "embed")},
            **{name: ("layers", "embed", "mlp") for name in into},
            "wo": ("layers", "mlp", "embed"),
        }
        shared = {"bias": {"table": ("buckets", "heads")}, "norm": {"scale": ("embed",)}}
        axes: Axes = {
            "embedding": ("vocab", "embed"),
            "encoder": {"layers": {"attention": dict(attention), "mlp": dict(mlp)}, **shared},
            "decoder": {
                "layers": {"attention": dict(attention), "cross_attention": dict(attention), "mlp": dict(mlp)},
                **shared,
            },
        }
        if not config.tie_embeddings:
            axes["lm_head"] = ("embed", "vocab")
        return axes
