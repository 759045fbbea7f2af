"""Devices share the examples out: each computes its part, and the answers are those of one device."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import every_second, with_deep
from eval_toys import CONFIG, decode, encode

from flan_jax.eval import scoring
from flan_jax.eval.batching import pad_rows, pair_batches, spread
from flan_jax.eval.decoding import generation
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.predictor import Predictor
from flan_jax.models.build import abstract_model, logical_axes
from flan_jax.testing.models import random_params, tiny_decoder
from flan_jax.train.sharding import MeshConfig, make_partitioner

DECODER = tiny_decoder(num_layers=2)
KINDS = {"t5": CONFIG, "decoder": DECODER}
MESHES = {"data": MeshConfig(), "fsdp": MeshConfig(2, 2, 2)}


@pytest.fixture(scope="module")
def params_of(model):
    return {"t5": model[1], "decoder": jax.tree.map(jnp.asarray, random_params(DECODER))}


def on_mesh(kind, params, mesh, **options):
    """A predictor whose parameters and rows lie as in training."""
    partitioner = make_partitioner(MESHES[mesh])
    graphdef, shapes = abstract_model(KINDS[kind])
    placed = jax.device_put(params, partitioner.params(logical_axes(KINDS[kind]), shapes))
    options = {"batch_size": 8, "target_length": 6, "rows_sharding": partitioner.batch(), **options}
    return Predictor(graphdef, placed, encode, decode, **options)


@pytest.mark.parametrize(("kind", "mesh"), every_second(KINDS, MESHES))
def test_answers_are_those_of_one_device(kind, mesh, params_of, examples):
    alone = Predictor(abstract_model(KINDS[kind])[0], params_of[kind], encode, decode, batch_size=8, target_length=6)
    sharded = on_mesh(kind, params_of[kind], mesh)
    with jax.transfer_guard("disallow"):
        found, texts = sharded.rank(examples), sharded.generate(examples)
    for left, right in zip(alone.rank(examples), found, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)
    assert texts == alone.generate(examples)
    if mesh == "data":
        beams = DecodingConfig("beam", beams=3)
        assert sharded.generate(examples, decoding=beams) == alone.generate(examples, decoding=beams)


def flops(compiled):
    return compiled.cost_analysis()["flops"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_eight_devices_computes_an_eighth_and_sends_nothing(kind, params_of):
    rows, length, width = 64, 16, 4
    graphdef = abstract_model(KINDS[kind])[0]
    tokens, lengths = pad_rows([[5] * length] * rows, (rows, length))
    owners, parts = np.arange(rows, dtype=np.int32), 8
    targets = pad_rows([[7] * width] * rows, (rows, width))
    cost = {}
    for devices, predictor in (
        (1, Predictor(graphdef, params_of[kind], encode, decode)),
        (8, on_mesh(kind, params_of[kind], "data")),
    ):
        put = predictor._placement.put_rows
        read = put(tokens, lengths)
        assert {shard.data.shape[0] for shard in read[0].addressable_shards} == {rows // devices}
        context = scoring.prefill(predictor.params, *read, graphdef=graphdef, longest=width)
        for leaf in jax.tree.leaves(context):
            held = {shard.data.size for shard in leaf.addressable_shards}
            assert held == {leaf.size // devices if leaf.ndim else 1}
        scored = scoring.target_scores.lower(
            predictor.params, context, *put(owners, *targets), graphdef=graphdef, parts=min(devices, parts)
        ).compile()
        written = generation.generate.lower(predictor.params, *read, graphdef=graphdef, max_length=width).compile()
        read_in = scoring.prefill.lower(predictor.params, *read, graphdef=graphdef, longest=width).compile()
        cost[devices] = [flops(read_in), flops(scored), flops(written)]
        if devices == 8:
            for compiled in (read_in, scored):
                text = compiled.as_text()
                assert not [word for word in ("all-gather", "all-to-all", "collective-permute") if word in text]
            # Whether all rows have ended is all that devices ask each other; of a search, the best candidates too.
            assert "all-gather(" not in written.as_text()
            searched = generation.generate.lower(
                predictor.params, *read, graphdef=graphdef, max_length=width, decoding=DecodingConfig("beam", beams=2)
            ).compile()
            gathers = [line for line in searched.as_text().splitlines() if "all-gather(" in line]
            assert all("top_k" in line for line in gathers)
    for alone, shared in zip(cost[1], cost[8], strict=True):
        assert shared == pytest.approx(alone / 8, rel=0.1)


def test_a_batch_is_dealt_out_evenly(params_of, examples):
    loads = [5, 1, 1, 1, 1, 1, 4, 2]
    places = spread(loads, rows=16, parts=4)
    assert len(set(places)) == len(loads)
    work = np.zeros(4, int)
    np.add.at(work, np.array(places) // 4, loads)
    assert sorted(work) == [3, 4, 4, 5]
    pairs = [(place, (7,) * (1 + number)) for place, load in zip(places, loads, strict=True) for number in range(load)]
    dealt = list(pair_batches(pairs, 16, 4))
    assert sorted(pair for chosen, _ in dealt for pair in chosen) == sorted(pairs)
    assert all(
        pair[0] // 4 == place // 4 for chosen, places in dealt for pair, place in zip(chosen, places, strict=True)
    )
    assert len(dealt) == 2  # as many as the part with five pairs needs


@pytest.mark.parametrize("count", with_deep([3], [1, 11]))
def test_a_batch_that_the_devices_do_not_divide_is_filled_up(count, params_of, examples):
    few = [dataclasses.replace(example) for example in examples[:count]]
    found = on_mesh("t5", params_of["t5"], "data", batch_size=5).rank(few)
    alone = on_mesh("t5", params_of["t5"], "data", rows_sharding=None, batch_size=5)
    for left, right in zip(found, alone.rank(few), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)


def test_what_is_answered_is_not_computed_again(predictor, examples):
    whole = predictor.rank(examples)
    first, *rest = list(predictor.answer_batches("rank", examples))
    left = list(predictor.answer_batches("rank", examples, skip=set(first.members)))
    assert [batch.members for batch in left] == [batch.members for batch in rest]
    for members, answers in left:
        for index, answer in zip(members, answers, strict=True):
            np.testing.assert_array_equal(answer, whole[index])
