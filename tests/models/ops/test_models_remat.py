"""What the policies of recomputation keep; that none changes a gradient is tested with each model."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from flan_jax.errors import UserError
from flan_jax.models import build
from flan_jax.models.ops.remat import REMATS
from flan_jax.testing.models import tiny_decoder, tiny_t5


def gradient(remat, length=64):
    config = tiny_decoder(num_layers=8, d_ff=64, max_positions=length)
    graphdef, params = build.abstract_model(dataclasses.replace(config, remat=remat))
    batch = {"decoder_input_tokens": jnp.ones((4, length), jnp.int32)}
    return jax.jit(jax.grad(lambda params: build.merge(graphdef, params).hidden(batch).sum())).trace(params)


def test_the_more_is_recomputed_the_less_is_kept():
    kept = {remat: gradient(remat).lower().compile().memory_analysis().temp_size_in_bytes for remat in REMATS[:3]}
    assert kept["full"] < 0.7 * kept["dots"] < 0.7 * kept["none"]


def test_what_is_kept_on_the_host_goes_there_and_comes_back():
    text = str(gradient("offload").jaxpr)
    assert "pinned_host" in text or "Host" in text
    assert "pinned_host" not in str(gradient("full").jaxpr)


@pytest.mark.parametrize("remat", [True, False, "all", None])
@pytest.mark.parametrize("make", [tiny_t5, tiny_decoder])
def test_there_is_one_way_to_say_it(make, remat):
    with pytest.raises(UserError, match=r"remat is .*'none', 'dots', 'full', 'offload'"):
        make(remat=remat)
