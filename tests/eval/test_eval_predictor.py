import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import with_deep
from eval_toys import CONFIG, decode, encode
from jax.sharding import NamedSharding, PartitionSpec

from flan_jax.errors import UserError
from flan_jax.eval import scoring
from flan_jax.eval.decoding import generation
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.predictor import Predictor
from flan_jax.models.build import apply

LONGEST = 6
_forward = jax.jit(apply, static_argnums=0)


def logits_of(model, inputs, decoder_inputs, *, room=20):
    """Logits ``[T, V]`` of one example alone through the plain forward pass, in one shape of its own."""
    inputs, count = list(map(int, inputs)), len(decoder_inputs)
    batch = {
        "encoder_input_tokens": jnp.array([inputs + [0] * (room - len(inputs))]),
        "decoder_input_tokens": jnp.array([decoder_inputs + [0] * (LONGEST - count)]),
    }
    return np.asarray(_forward(*model, batch)[0, :count], np.float64)


def naive_score(model, inputs, option):
    targets = [*encode(option), CONFIG.eos_id]
    logits = logits_of(model, inputs, [CONFIG.decoder_start_id, *targets[:-1]])
    log_normalizer = np.log(np.exp(logits).sum(axis=-1))
    return sum(logits[i, token] - log_normalizer[i] for i, token in enumerate(targets))


def naive_generation(model, inputs, length, vocabulary_size=None):
    written = []
    while len(written) < length and CONFIG.eos_id not in written:
        written.append(
            int(logits_of(model, inputs, [CONFIG.decoder_start_id, *written])[-1, :vocabulary_size].argmax())
        )
    return [*written, *[CONFIG.pad_id] * (length - len(written))]


def test_option_scores_are_those_of_the_full_forward_pass(model, predictor, examples):
    found = predictor.rank(examples)
    for example, scores in zip(examples, found, strict=True):
        expected = [naive_score(model, example.inputs, option) for option in example.options]
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-4)
    assert len({len(scores) for scores in found}) > 1


def test_padding_does_not_matter(model, predictor, examples):
    # Other shapes sum in another order: logits of size 5 differ by a few 1e-5 in float32.
    example = examples[1]
    expected = logits_of(model, example.inputs, [0, 5], room=len(example.inputs))
    np.testing.assert_allclose(logits_of(model, example.inputs, [0, 5]), expected, atol=1e-4)
    alone = predictor.rank([example])[0]
    np.testing.assert_allclose(alone, predictor.rank(examples)[1], atol=1e-4)


def test_generation_is_the_naive_argmax_loop(model, predictor, examples):
    expected = [decode(naive_generation(model, example.inputs, LONGEST)) for example in examples]
    assert predictor.generate(examples) == expected
    assert len(set(expected)) > 1


def test_generation_stops_a_row_at_eos_and_the_loop_when_all_rows_have_it(model, examples):
    graphdef, params = model
    # EOS is made likely, so that some rows end early and others do not.
    params = {**params, "lm_head": params["lm_head"].at[:, CONFIG.eos_id].multiply(3.0)}
    predictor = Predictor(graphdef, params, encode, decode, batch_size=4, target_length=6)
    expected = [naive_generation((graphdef, params), example.inputs, 6) for example in examples]
    assert {CONFIG.eos_id in row for row in expected} == {True, False}
    assert predictor.generate(examples) == [decode(row) for row in expected]


def test_ids_beyond_the_vocabulary_are_never_written(model, predictor, examples):
    small = Predictor(*model, encode, decode, batch_size=4, target_length=6, vocabulary_size=20)
    expected = [decode(naive_generation(model, example.inputs, LONGEST, 20)) for example in examples]
    assert small.generate(examples) == expected != predictor.generate(examples)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_batch_size_and_company_do_not_matter(model, predictor, examples, batch_size):
    other = Predictor(*model, encode, decode, batch_size=batch_size, target_length=6)
    for left, right in zip(predictor.rank(examples), other.rank(examples[::-1])[::-1], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)
    assert predictor.generate(examples) == other.generate(examples[::-1])[::-1]


@pytest.mark.parametrize(
    "decoding",
    with_deep(
        [DecodingConfig("sample", temperature=0.8, top_k=20, top_p=0.95, seed=3)],
        [DecodingConfig("beam", beams=3, early_stopping=True)],
    ),
)
def test_batch_size_and_company_do_not_matter_to_other_ways_of_writing(model, predictor, examples, decoding):
    other = Predictor(*model, encode, decode, batch_size=3, target_length=6, decoding=decoding)
    with jax.transfer_guard("disallow"):
        together = predictor.generate(examples, decoding=decoding)
        assert other.generate(examples[::-1])[::-1] == together != predictor.generate(examples)


def test_a_search_finds_texts_that_are_likelier_than_the_greedy_ones(model, predictor, examples):
    def score(example, text):
        ids = list(map(int, text.split()))
        ids = ids[: ids.index(CONFIG.eos_id) + 1] if CONFIG.eos_id in ids else ids
        logits = logits_of(model, example.inputs, [CONFIG.decoder_start_id, *ids[:-1]])
        return sum((logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))[range(len(ids)), ids])

    found = predictor.generate(examples, decoding=DecodingConfig("beam", beams=8, length_penalty=0.0))
    gained = [
        score(example, best) - score(example, greedy)
        for example, best, greedy in zip(examples, found, predictor.generate(examples), strict=True)
    ]
    assert min(gained) > -1e-3
    assert max(gained) > 0.1


def test_a_stop_cuts_what_is_written_and_compiles_once(predictor, examples):
    whole = predictor.generate(examples)
    before = generation.generate._cache_size()
    for stop in (whole[0].split()[2], whole[1].split()[1], "no text of this kind"):
        found = predictor.generate(examples, decoding=DecodingConfig(stop=(stop,)))
        assert found == [text[: text.index(stop)] if stop in text else text for text in whole]
        ids = (int(stop),) if stop.isdigit() else (2,)
        held = predictor.generate(examples, decoding=DecodingConfig(stop=(ids,)))
        assert [text.split() for text in held] == [_before(text.split(), str(ids[0])) for text in whole]
    assert generation.generate._cache_size() - before <= 2  # the shapes of prompts, once


def _before(words, stop):
    return words[: words.index(stop)] if stop in words else words


def test_the_length_of_a_text_may_be_set(predictor, examples):
    for text, whole in zip(
        predictor.generate(examples, decoding=DecodingConfig(max_length=3)), predictor.generate(examples), strict=True
    ):
        assert text.split() == whole.split()[:3]


def test_other_parameters_compile_nothing_again(predictor, examples):
    predictor.rank(examples)
    predictor.generate(examples)
    functions = (scoring.prefill, scoring.target_scores, generation.generate)
    before = [function._cache_size() for function in functions]
    other = predictor.with_params(jax.tree.map(lambda leaf: leaf * 0.5, predictor.params))
    assert not np.allclose(other.rank(examples)[0], predictor.rank(examples)[0])
    other.generate(examples)
    assert [function._cache_size() for function in functions] == before


def test_sharded_parameters_give_the_same_answers(model, predictor, examples):
    mesh = jax.make_mesh((8,), ("fsdp",), axis_types=(jax.sharding.AxisType.Auto,))

    def place(leaf):
        axes = ["fsdp" if size % 8 == 0 else None for size in leaf.shape]
        axes = [axis if axes.index("fsdp") == i else None for i, axis in enumerate(axes)] if "fsdp" in axes else []
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*axes)))

    sharded = predictor.with_params(jax.tree.map(place, model[1]))
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(sharded.params))
    with jax.transfer_guard("disallow"):
        scores, texts = sharded.rank(examples), sharded.generate(examples)
    for left, right in zip(predictor.rank(examples), scores, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)
    assert texts == predictor.generate(examples)


def test_evaluation_runs_where_implicit_transfers_are_forbidden(predictor, examples):
    with jax.transfer_guard("disallow"):
        predictor.rank(examples)
        predictor.generate(examples)


def test_long_options_are_cut_as_in_training_and_then_tie_exactly(model, examples):
    short = Predictor(*model, encode, decode, batch_size=4, target_length=3)
    example = type(examples[0])(examples[0].inputs, ("w5 w6 w7", "w5 w6 w8", "w5 w6"), ("w5 w6",), 0, 0)
    first, second, third = short.rank([example])[0]
    assert first == second == third
    np.testing.assert_allclose(first, naive_score(model, example.inputs, "w5 w6"), rtol=1e-5, atol=1e-4)


def test_progress_counts_every_example_once(predictor, examples):
    counted = []
    predictor.rank(examples, counted.append)
    predictor.generate(examples, counted.append)
    assert sum(counted) == 2 * len(examples)
    assert max(counted) <= 4


@pytest.mark.parametrize("field", ["batch_size", "target_length"])
def test_sizes_below_one_are_refused(model, field):
    with pytest.raises(UserError, match=f"{field} is 0"):
        Predictor(*model, encode, decode, **{field: 0})
