"""Continuations are scored as the model's plain forward pass scores them; contexts are shared, and cuts are counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.predictor import Predictor
from flan_jax.harness.token_scoring import Answer, Request, TokenScorer, cut_left, without_begin
from flan_jax.models.build import abstract_model, apply
from flan_jax.testing.models import random_params, tiny_decoder, tiny_t5

ROOM = 24
_forward = jax.jit(apply, static_argnums=0)


def scorer_of(config, **changes):
    params = jax.tree.map(jnp.asarray, random_params(config))
    predictor = Predictor(abstract_model(config)[0], params, encode=list, decode=str, batch_size=4)
    begin = () if config.row_start_id is None else (config.row_start_id,)
    fields = {"max_length": 40, "begin": begin, "decoder_only": config.decoder_only, "vocab_size": config.vocab_size}
    return TokenScorer(predictor, **{**fields, "learned_positions": config.learned_positions, **changes})


@pytest.fixture(scope="module")
def decoder():
    return scorer_of(tiny_decoder(num_layers=2, bos_id=2))


@pytest.fixture(scope="module")
def encoder_decoder():
    return scorer_of(tiny_t5(num_encoder_layers=1, num_decoder_layers=2))


def log_likelihoods(scorer, request):
    """Of every token of the vocabulary, for each token of the continuation, by a forward pass over all of it."""
    context, continuation = list(request.context), list(request.continuation)
    if scorer.decoder_only:
        read = [*context, *continuation[:-1]]
        tokens = np.zeros((1, ROOM), np.int32)
        tokens[0, : len(read)] = read
        segments = (np.arange(ROOM) < len(read)).astype(np.int32)[None]
        batch = {
            "decoder_input_tokens": tokens,
            "decoder_segment_ids": segments,
            "decoder_positions": np.arange(ROOM)[None],
        }
        places = slice(len(context) - 1, len(read))
    else:
        tokens, before = np.zeros((1, ROOM), np.int32), np.zeros((1, ROOM), np.int32)
        tokens[0, : len(context)] = context
        before[0, 1 : len(continuation)] = continuation[:-1]
        batch = {"encoder_input_tokens": tokens, "decoder_input_tokens": before}
        places = slice(0, len(continuation))
    predictor = scorer.predictor
    logits = np.asarray(_forward(predictor.graphdef, predictor.params, batch)[0, places], np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def expected(scorer, request):
    """Score of one request, and whether it is what greedy decoding writes."""
    found, continuation = log_likelihoods(scorer, request), list(request.continuation)
    chosen = found[np.arange(len(continuation)), continuation]
    return chosen.sum(), bool((found.argmax(-1) == continuation).all())


def requests_of(begin, rng):
    contexts = [(*begin, *rng.integers(3, 61, length).tolist()) for length in (1, 5, 12, 12)]
    made = [Request(c, tuple(rng.integers(3, 61, length).tolist())) for c in contexts for length in (1, 2, 7)]
    return [made[index] for index in rng.permutation(len(made))]


@pytest.mark.parametrize("kind", ["decoder", "encoder_decoder"])
def test_scores_are_those_of_a_forward_pass(kind, request):
    scorer = request.getfixturevalue(kind)
    requests = requests_of(scorer.begin, np.random.default_rng(0))
    # What greedy decoding writes is among them, once for a token and once for three.
    for length in (1, 3):
        context = requests[0].context
        written = greedy(scorer, context, length)
        requests += [Request(context, written), Request(context, (*written[:-1], (written[-1] + 1) % 61))]
    found = dict(scorer.score(requests))
    assert sorted(found) == list(range(len(requests)))
    for index, one in enumerate(requests):
        log_likelihood, is_greedy = expected(scorer, one)
        assert found[index].log_likelihood == pytest.approx(log_likelihood, abs=1e-4)
        assert found[index].greedy == is_greedy
    assert [found[index].greedy for index in range(len(requests) - 4, len(requests))] == [True, False, True, False]
    assert scorer.cut == 0


def greedy(scorer, context, length):
    written = ()
    for _ in range(length):
        written = (*written, int(log_likelihoods(scorer, Request(context, (*written, 3)))[-1].argmax()))
    return written


def test_a_context_is_computed_once_for_all_that_follows_it(decoder):
    read = []

    class Watched(Predictor):
        def target_batches(self, examples, targets):
            read.extend((len(example.inputs), len(own)) for example, own in zip(examples, targets, strict=True))
            yield from super().target_batches(examples, targets)

    fields = {field.name: getattr(decoder.predictor, field.name) for field in dataclasses.fields(Predictor)}
    watched = dataclasses.replace(decoder, predictor=Watched(**fields))
    requests = [Request((2, 5, 6), (7,)), Request((2, 5, 6), (8, 9)), Request((2, 5, 6), (7,)), Request((2, 5), (7,))]
    found = dict(watched.score(requests))
    assert sorted(read) == [(1, 1), (2, 2)]
    assert found[0] == found[2]


def test_nothing_is_written_with_certainty(decoder):
    assert dict(decoder.score([Request((2, 5), ())])) == {0: Answer(0.0, True)}


def test_what_is_too_long_loses_its_beginning_and_is_counted(decoder):
    scorer = dataclasses.replace(decoder, max_length=9, cut=0)
    long, kept = (2, *range(3, 30)), (2, *range(25, 30))
    # Nine tokens are read: the first, five of the context, and three of the four of the continuation.
    found = dict(scorer.score([Request(long, (31, 32, 33, 34)), Request(kept, (31, 32, 33, 34))]))
    assert found[0] == found[1]
    assert scorer.cut == 1
    with pytest.raises(UserError, match=r"A continuation has 10 tokens, and this model reads at most 9\."):
        list(scorer.score([Request((2,), tuple(range(3, 13)))]))


def test_an_encoder_s_input_and_the_output_have_room_of_their_own(encoder_decoder):
    scorer = dataclasses.replace(encoder_decoder, max_length=6, cut=0)
    context = tuple(range(3, 13))
    found = dict(scorer.score([Request(context, (20,) * 6), Request(context[-6:], (20,) * 6)]))
    assert found[0] == found[1]
    assert scorer.cut == 1


def test_a_model_with_learned_positions_uses_all_of_them_and_no_more():
    scorer = scorer_of(tiny_decoder(num_layers=1, bos_id=2, position="learned", max_positions=16), max_length=16)
    requests = [
        Request((2, *range(3, 3 + size)), tuple(range(30, 30 + length))) for size, length in ((3, 12), (14, 1), (30, 5))
    ]
    found = dict(scorer.score(requests))
    assert all(np.isfinite(answer.log_likelihood) for answer in found.values())
    assert scorer.cut == 1
    for index, one in enumerate(requests[:2]):
        assert found[index].log_likelihood == pytest.approx(dict(scorer.score([one]))[0].log_likelihood, abs=1e-4)


def test_long_continuations_are_computed_fewer_at_a_time(decoder, monkeypatch):
    monkeypatch.setattr("flan_jax.harness.token_scoring._LOGITS", 61 * 16)
    requests = [Request((2, *range(3, 3 + size)), tuple(range(3, 15))) for size in range(1, 5)]
    sizes = []

    class Watched(Predictor):
        def target_batches(self, examples, targets):
            sizes.append(self.batch_size)
            yield from super().target_batches(examples, targets)

    fields = {field.name: getattr(decoder.predictor, field.name) for field in dataclasses.fields(Predictor)}
    found = dict(dataclasses.replace(decoder, predictor=Watched(**fields)).score(requests))
    assert sizes == [1]
    assert found[2].log_likelihood == pytest.approx(expected(decoder, requests[2])[0], abs=1e-4)


def test_the_token_that_begins_a_text_stays_in_front_of_what_is_left():
    assert cut_left((2, 3, 4, 5, 6), 3, (2,)) == (2, 5, 6)
    assert cut_left((3, 4, 5, 6), 3, ()) == (4, 5, 6)
    assert cut_left((2, 3), 2, (2,)) == (2, 3)
    assert without_begin((2, 5), (2,)) == (5,)
    assert without_begin((5, 2), (2,)) == (5, 2)
