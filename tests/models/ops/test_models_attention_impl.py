"""Selection of the attention implementation; models compute the same with each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.decoder import layers as decoder_layers
from flan_jax.models.decoder.layers import cudnn_attention
from flan_jax.models.ops import attention_impl
from flan_jax.models.ops.attention import dot_product_attention
from flan_jax.models.ops.attention_impl import QUERY_CHUNK, AttentionImpl, select_impl
from flan_jax.models.ops.attention_mask import segment_mask
from flan_jax.models.t5 import attention
from flan_jax.testing.models import random_batch, random_params, tiny_decoder, tiny_t5

FITS = {"rows": 2, "heads": 8, "queries": 512, "keys": 512, "cudnn_refuses": "", "aligned": True}


def test_auto_takes_what_is_there():
    assert select_impl("auto", **FITS, backend="gpu").kind == "cudnn"
    assert select_impl("auto", **FITS, backend="cpu", devices=1).kind == "batch_chunked"
    assert select_impl("auto", **FITS, backend="cpu", devices=8).kind == "dense"
    assert select_impl("auto", **FITS, backend="tpu", devices=1).kind == "dense"
    assert select_impl("auto", **{**FITS, "cudnn_refuses": "of some reason"}, backend="gpu").kind == "dense"
    assert select_impl("auto", **{**FITS, "queries": 511, "keys": 511}, backend="gpu").kind == "dense"
    long = {**FITS, "queries": 4096, "keys": 4096}
    assert select_impl("auto", **long, backend="cpu", devices=1) == AttentionImpl("chunked", query_chunk=QUERY_CHUNK)
    assert select_impl("auto", **long, backend="gpu").kind == "cudnn"


def test_auto_takes_chunks_for_long_rows_of_a_t5_too():
    long = {"heads": 12, "queries": 2048, "keys": 2048, "cudnn_refuses": "T5 has a learned bias", "aligned": False}
    for backend, devices in (("gpu", 1), ("tpu", 4), ("cpu", 8)):
        assert select_impl("auto", rows=4, **long, backend=backend, devices=devices) == AttentionImpl(
            "chunked", query_chunk=QUERY_CHUNK
        )
    assert select_impl("auto", rows=1, **long, backend="cpu", devices=1) == AttentionImpl(
        "chunked", query_chunk=QUERY_CHUNK
    )
    assert select_impl("auto", rows=4, **long, backend="cpu", devices=1) == AttentionImpl(
        "batch_chunked", batch_chunk=1
    )
    short = {**long, "queries": 512, "keys": 512}
    assert select_impl("auto", rows=4, **short, backend="gpu", devices=1) == AttentionImpl("dense")
    one = {**long, "queries": 1, "keys": 10**7}  # token by token
    assert select_impl("auto", rows=4, **one, backend="gpu", devices=1) == AttentionImpl("dense")


@pytest.mark.parametrize(
    ("rows", "length", "taken"),
    [
        (1, 512, AttentionImpl("dense")),
        (8, 512, AttentionImpl("batch_chunked", batch_chunk=1)),
        (6, 256, AttentionImpl("batch_chunked", batch_chunk=2)),  # 2 MiB a row
        (8, 128, AttentionImpl("dense")),  # 4 MiB in all
        (12, 128, AttentionImpl("batch_chunked", batch_chunk=6)),
        (17, 128, AttentionImpl("batch_chunked", batch_chunk=1)),  # has no other divisor
    ],
)
def test_a_cpu_takes_rows_that_its_cache_holds(rows, length, taken):
    shape = {**FITS, "rows": rows, "queries": length, "keys": length}
    assert select_impl("auto", **shape, backend="cpu", devices=1) == taken


def test_what_is_asked_for_is_what_is_taken():
    for impl in ("dense", "batch_chunked", "chunked"):
        assert select_impl(impl, **FITS, backend="gpu").kind == impl
    assert select_impl("cudnn", **FITS, backend="gpu").kind == "cudnn"
    with pytest.raises(UserError, match="runs on 'cpu'"):
        select_impl("cudnn", **FITS, backend="cpu")
    with pytest.raises(UserError, match="even number"):
        select_impl("cudnn", **{**FITS, "queries": 511, "keys": 511}, backend="gpu")


@pytest.mark.parametrize("impl", ["auto", "batch_chunked", "chunked", "cudnn"])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_one_token_at_a_time_is_dense(impl, backend):
    of_one = {**FITS, "queries": 1, "keys": 10**7, "aligned": False}
    assert select_impl(impl, **of_one, backend=backend, devices=1) == AttentionImpl("dense")


def test_configurations_refuse_what_they_cannot():
    with pytest.raises(UserError, match="learned bias"):
        tiny_t5(attention="cudnn")
    with pytest.raises(UserError, match="dense"):
        tiny_t5(attention="dens")
    with pytest.raises(UserError, match="T5Config: attention 'plain' is called 'dense' now"):
        tiny_t5(attention="plain")
    for changes, why in (
        ({}, "16 bits"),
        ({"dtype": "bfloat16"}, "d_head is 4"),
        ({"dtype": "bfloat16", "d_head": 256}, "d_head is 256"),
        ({"dtype": "bfloat16", "d_head": 64, "attention_softcap": 5.0}, "softcap"),
    ):
        with pytest.raises(UserError, match=why):
            tiny_decoder(attention="cudnn", **changes)
    assert tiny_decoder(attention="cudnn", dtype="bfloat16", d_head=64).cudnn_refusal == ""


@pytest.mark.parametrize("prefix", [False, True])
def test_cudnn_takes_operands_of_such_shapes(monkeypatch, prefix):
    given = {}

    real = jax.nn.dot_product_attention
    monkeypatch.setattr(
        decoder_layers.jax.nn, "dot_product_attention",
        lambda *operands, **options: (given.update(options), real(*operands, **{**options, "implementation": "xla"}))[1],
    )  # fmt: skip
    ids = np.array([[1, 1, 2, 2, 2, 0]])
    mask = segment_mask(ids, ids, causal=True)
    if prefix:
        both = jnp.asarray([[True, True, False, False, False, False]])
        mask = dataclasses.replace(mask, query_prefix=both, key_prefix=both)
    q, k, v = (jnp.ones((1, 6, heads, 8), jnp.bfloat16) for heads in (4, 2, 2))
    assert jax.eval_shape(lambda: cudnn_attention(q, k, v, mask, 0.5)).shape == q.shape
    assert given["implementation"] == "cudnn"
    assert given["mask"].shape == (1, 1, 6, 6)
    assert given["is_causal"] is not prefix  # it would hide the prefix


def gradients(config, batch):
    graphdef, params = build.abstract_model(config)[0], random_params(config)

    def loss(params):
        logits = build.apply(graphdef, params, batch) * batch["decoder_segment_ids"][..., None]
        return jnp.square(logits).mean()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
    "config",
    with_deep(
        [
            tiny_t5(num_encoder_layers=1, num_decoder_layers=1),
            tiny_decoder(num_layers=2, sliding_window=4, window_pattern=(True, False), attention_softcap=3.0),
        ],
        [tiny_decoder(num_layers=2, prefix_lm=True, sliding_window=4)],
    ),
    ids=["t5", "capped", "prefix"],
)
def test_models_compute_the_same_with_every_implementation(config, monkeypatch):
    monkeypatch.setattr(attention_impl, "QUERY_CHUNK", 4)
    calls = []

    def recorded(*arguments):
        calls.append(arguments[-1])
        return dot_product_attention(*arguments)

    for module in (attention, decoder_layers):
        monkeypatch.setattr(module, "dot_product_attention", recorded)
    batch = random_batch(tiny_t5(), inputs=11, targets=10)
    # Two examples in a row, and padding.
    batch["decoder_segment_ids"] = np.array([[1, 1, 1, 2, 2, 2, 2, 2, 0, 0], [1] * 8 + [2, 2]], np.int32)
    batch["decoder_causal_attention"] = np.array([[1, 1, 0, 1, 1, 1, 0, 0, 0, 0], [1] * 5 + [0] * 5], np.int32)
    batch = {name: values for name, values in batch.items() if not name.endswith("positions")}
    expected = gradients(dataclasses.replace(config, attention="dense"), batch)
    for impl, chunk in (("batch_chunked", "batch_chunk"), ("chunked", "query_chunk")):
        calls.clear()
        found = gradients(dataclasses.replace(config, attention=impl), batch)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), found, expected)
        assert calls, "the models attend elsewhere"
        assert all(getattr(options, chunk) for options in calls)
