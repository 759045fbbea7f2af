"""A decoder is measured by what it was trained on: scores are the training loss, options share their prompt."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eval_toys import WORDS, decode, encode

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.predictor import Predictor
from flan_jax.feed.layout import RowLayout
from flan_jax.models.build import abstract_model, apply, merge
from flan_jax.testing.models import random_params, tiny_decoder
from flan_jax.train.loss import token_loss

EOS = 1
LAYOUT = RowLayout(15, 6, decoder_only=True)
KINDS = {
    "learned": {"position": "learned", "norm": "layer"},
    "prompted": {"position": "learned"},
    "prefix": {"prefix_lm": True, "bos_id": 2},
    "windows": {
        "sliding_window": 5, "window_pattern": (True, False), "bos_id": 2, "attention_softcap": 5.0, "qk_norm": "head",
        "norm_placement": "both", "logit_softcap": 9.0,
    },
}  # fmt: skip
# Trained vectors in front of every row, of the one kind.
PROMPT = jnp.asarray(np.random.default_rng(2).normal(size=(5, 20)), jnp.float32)
_forward = jax.jit(apply, static_argnums=0)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _losses(graphdef, params, batch, num_tasks):
    return token_loss(apply(graphdef, params, batch), batch, num_tasks=num_tasks)


def model_of(kind):
    config = tiny_decoder(num_layers=2, **KINDS[kind])
    params = jax.tree.map(jnp.asarray, random_params(config))
    if kind == "prompted":
        params["prompt"] = PROMPT
    return config, abstract_model(config)[0], params


def predictor_of(kind, **options):
    _, graphdef, params = model_of(kind)
    return Predictor(graphdef, params, encode, decode, **{"batch_size": 16, "target_length": 6, **options})


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(3)

    def words(low, high):
        return " ".join(rng.choice(list(WORDS), rng.integers(low, high)))

    made = []
    for index in range(9):
        inputs = np.array([*encode(words(1, 14)), EOS]) if index else np.zeros(0, np.int32)
        options = tuple(dict.fromkeys(words(0, 5) for _ in range(rng.integers(2, 5))))
        targets = np.array([*encode(options[-1]), EOS])
        made.append(EvalExample(inputs, options, (options[0],), index, 0, targets=targets))
    return made


def trained_on(examples, row):
    """The feed's rows of examples: the very arrays that training reads."""
    inputs, targets = [example.inputs for example in examples], [example.targets for example in examples]
    return LAYOUT.assemble(
        row=np.asarray(row),
        task=np.arange(len(examples)),
        input_lengths=np.array([len(part) for part in inputs]),
        target_lengths=np.array([len(part) for part in targets]),
        input_tokens=np.concatenate(inputs),
        target_tokens=np.concatenate(targets),
        rows=row[-1] + 1,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_is_the_training_loss_of_the_example_packed_or_not(kind, examples):
    """One task an example, so that the loss by task is the loss by example."""
    _, graphdef, params = model_of(kind)
    found = predictor_of(kind).loglikelihood(examples)
    alone, packed = [], []
    fits, used = [], 0
    for index, example in enumerate(examples):
        size = len(example.inputs) + len(example.targets)
        used = used + size if used + size <= LAYOUT.tokens_per_row else size
        fits.append((fits[-1] if fits else 0) + (used == size and index > 0))
    assert fits[-1] + 1 < len(examples)  # some rows hold several
    for rows, losses in ((list(range(len(examples))), alone), (fits, packed)):
        batch = trained_on(examples, rows)
        losses.extend(-np.asarray(_losses(graphdef, params, batch, len(examples)).task_loss))
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5)
    if kind != "prompted":  # in front of a row there is one prompt, for one example
        np.testing.assert_allclose(found, packed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["prefix"])
def test_an_option_is_scored_as_if_it_were_the_target(kind, examples):
    ranked = predictor_of(kind).rank(examples)
    for place in range(3):
        chosen = [example for example in examples if len(example.options) > place]
        as_targets = [
            dataclasses.replace(example, targets=np.array([*encode(example.options[place]), EOS])) for example in chosen
        ]
        expected = predictor_of(kind, batch_size=4 if place else 16).loglikelihood(as_targets)
        own = [scores[place] for scores in ranked if len(scores) > place]
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["prompted", "prefix"])
def test_it_writes_what_the_rows_of_training_say_is_likeliest(kind, examples):
    config, graphdef, params = model_of(kind)
    written = predictor_of(kind).generate(examples)
    assert len(set(written)) > 4
    for example, text in zip(examples, written, strict=True):
        ids = np.array([int(token) for token in text.split()])
        batch = trained_on([dataclasses.replace(example, targets=ids)], [0])
        places = np.flatnonzero(np.asarray(batch["decoder_loss_weights"])[0])
        logits = np.asarray(_forward(graphdef, params, batch))[0, places]
        end = (*np.flatnonzero(ids == config.eos_id), len(ids) - 1)[0]
        np.testing.assert_array_equal(logits.argmax(axis=-1)[: end + 1], ids[: end + 1])


def test_several_continuations_leave_the_cache_as_it_is():
    config, graphdef, params = model_of("windows")
    model = merge(graphdef, params)
    tokens = np.random.default_rng(0).integers(3, 61, (2, 7))
    rows, more = np.array([1, 0, 1]), np.random.default_rng(1).integers(3, 61, (3, 3))
    cache, _, logits = jax.jit(model.prefill, static_argnums=2)(tokens, np.array([7, 4]), 3)
    before = jax.tree.map(np.asarray, cache)
    found = model.extend(cache, rows, more)
    # Rows 1 and 0, then row 1 again with its own tokens, one by one.
    step = jax.jit(model.decode_step)
    for chosen in ((1, 0), (1, 2)):
        own = cache
        for place in range(3):
            one, own = step(own, more[np.array(chosen), place])
            for row, continuation in enumerate(chosen):
                if rows[continuation] == row:
                    np.testing.assert_allclose(found[continuation, place], one[row], rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.asarray, cache), before)
    assert logits.shape == (2, config.vocab_size)


def test_a_further_token_that_ends_a_text_is_not_part_of_it(examples):
    config, _, params = model_of("learned")
    whole = predictor_of("learned").generate(examples)
    stop = int(whole[3].split()[2])
    ended = abstract_model(dataclasses.replace(config, stop_ids=(stop,)))[0]
    found = Predictor(ended, params, encode, decode, batch_size=16, target_length=6).generate(examples)
    cut = [
        text.split()[: text.split().index(str(stop))] if str(stop) in text.split() else text.split() for text in whole
    ]
    assert [text.split() for text in found] == cut
    assert found != whole


def test_learned_positions_end_somewhere(examples):
    config = tiny_decoder(num_layers=2, position="learned", max_positions=20)
    params = jax.tree.map(jnp.asarray, random_params(config))
    predictor = Predictor(abstract_model(config)[0], params, encode, decode, batch_size=4, target_length=6)
    # A start, 13 tokens and 6 more are all there is room for, though 14 would be rounded up to 16.
    long = dataclasses.replace(examples[1], inputs=np.arange(3, 16), options=("w3 w4 w5 w6 w7", "w5"))
    assert np.isfinite(predictor.rank([long])[0]).all()
    assert predictor.generate([long])[0]
    longer = dataclasses.replace(long, inputs=np.arange(3, 17), example_id=7)
    scores, beside = predictor.rank([longer, long])
    assert np.isnan(scores).all()
    np.testing.assert_allclose(beside, predictor.rank([long])[0], rtol=1e-5)
    assert predictor.generate([longer, long]) == ["", *predictor.generate([long])]
    for request in ("rank", "text"):
        (note,) = predictor.notes(request, [longer, long])
        assert note.startswith(
            "1 of 2 examples have prompts so long that their answers do not fit into the 20 positions"
        )
        assert predictor.notes(request, [long]) == []
    with pytest.raises(UserError, match=r"Example 7 has 15 tokens.*up to 6 follow.*20 positions for them") as caught:
        predictor.check_room(longer)
    assert "\n" not in str(caught.value)
    prompted = predictor.with_params({**params, "prompt": PROMPT})
    with pytest.raises(UserError, match="15 positions for them"):
        prompted.check_room(long)


def test_a_prompt_with_room_for_its_own_options_is_asked_though_others_have_longer_ones(examples):
    config = tiny_decoder(num_layers=2, position="learned", max_positions=20)
    params = jax.tree.map(jnp.asarray, random_params(config))
    predictor = Predictor(abstract_model(config)[0], params, encode, decode, batch_size=4, target_length=6)
    tight = dataclasses.replace(examples[1], inputs=np.arange(3, 19), options=("w5 w6", "w7"))
    wide = dataclasses.replace(examples[1], inputs=np.arange(3, 12), options=("w3 w4 w5 w6 w7", "w5"))
    alone = [predictor.rank([example])[0] for example in (tight, wide)]
    for together, own in zip(predictor.rank([tight, wide]), alone, strict=True):
        np.testing.assert_allclose(together, own, rtol=1e-5, atol=1e-5)
    assert predictor.notes("rank", [tight, wide]) == []


def test_it_runs_where_implicit_transfers_are_forbidden(examples):
    predictor = predictor_of("prefix")
    with jax.transfer_guard("disallow"):
        predictor.rank(examples)
        predictor.loglikelihood(examples)
        predictor.generate(examples)
