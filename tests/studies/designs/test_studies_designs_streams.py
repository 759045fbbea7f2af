"""Streams by name: the same numbers on every machine, others for every name."""

import numpy as np

from flan_jax.studies.designs.streams import Stream, shuffled


def test_numbers_are_what_they_always_were():
    # Philox's words are numpy's promise, and what is made of them is ours: these must never change.
    assert Stream(0, "dirichlet", 7).uniforms(3).tolist() == [
        0.5784374293508547,
        0.40193154837177375,
        0.7488380716536218,
    ]
    assert shuffled("abcdefg", 0, "clusters") == list("egfcadb")


def test_a_stream_goes_on_where_it_stood():
    stream = Stream(1, "x")
    parts = [stream.uniforms(2), stream.uniforms(3), stream.uniforms(1)]
    np.testing.assert_array_equal(np.concatenate(parts), Stream(1, "x").uniforms(6))


def test_names_make_streams_apart():
    streams = [Stream(*names).uniform() for names in ((0,), (1,), (0, "a"), (0, "a", 1), (0, "a", 2), ("0", "a1"))]
    assert len(set(streams)) == len(streams)
    assert Stream(0, "a").uniform() == Stream("0", "a").uniform()  # a seed is its digits


def test_numbers_are_uniform():
    numbers = Stream(3).uniforms(20_000)
    assert 0 < numbers.min() < 1e-3 < 1 - 1e-3 < numbers.max() < 1
    np.testing.assert_allclose(np.histogram(numbers, 10, (0, 1))[0] / 2000, 1, atol=0.1)
    assert {Stream(3, place).below(3) for place in range(50)} == {0, 1, 2}
