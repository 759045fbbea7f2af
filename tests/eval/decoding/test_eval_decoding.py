"""Decoding over a model whose every probability is in a table: brute force and exact distributions are at hand."""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eval_toys import CONFIG
from scipy import stats

from flan_jax.errors import UserError
from flan_jax.eval.decoding.beam import beam_search
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.decoding.filters import sampling_logits
from flan_jax.eval.decoding.generation import generate
from flan_jax.eval.decoding.sampling import SamplingRule, continue_sampling, draw_key, start_sampling
from flan_jax.eval.decoding.state import repeat_rows
from flan_jax.eval.decoding.stopping import cut_at_stop, stop_table, token_stops
from flan_jax.models.build import abstract_model, apply, merge
from flan_jax.models.ops import stack
from flan_jax.models.protocol import DecodeState
from flan_jax.testing.models import random_params, tiny_decoder

PAD, EOS, VOCABULARY, LENGTH, STATES = 0, 1, 4, 4, 101


class TableCache(NamedTuple):
    state: Any  # [R], all that was written so far as one number
    prompt: Any  # [B], shared by the beams of a prompt
    step: Any

    @property
    def beam_axes(self):
        return {"state": 0}


class TableModel:
    """Logits from a table that every prompt and every text leads to another row of."""

    class config:
        eos_id, pad_id, stop_ids = EOS, PAD, ()

    def __init__(self, seed=0, stop_ids=()):
        self.config = type("config", (TableModel.config,), {"stop_ids": stop_ids})
        self.table = np.random.default_rng(seed).normal(size=(STATES, VOCABULARY)).astype(np.float32) * 2

    def row(self, state, prompt):
        return (state * 37 + prompt * 11 + 5) % STATES

    def decode_step(self, cache, tokens):
        state = (cache.state * (VOCABULARY + 1) + tokens + 1) % 10007
        prompt = jnp.repeat(cache.prompt, len(tokens) // len(cache.prompt))
        logits = jnp.asarray(self.table)[self.row(state, prompt)]
        return logits, TableCache(state, cache.prompt, cache.step + 1)

    def started(self, prompts, read):
        """With the logits of the first token already there (as a decoder gives them), or not (as T5)."""
        prompts = jnp.asarray(prompts)
        cache = TableCache(jnp.zeros_like(prompts), prompts, jnp.int32(0))
        start = jnp.full_like(prompts, -1)  # adds nothing to the state
        if not read:
            return DecodeState(cache, start, None)
        logits, cache = self.decode_step(cache, start)
        return DecodeState(cache, jnp.zeros_like(prompts), logits)

    def log_probabilities(self, prompt, written):
        state = 0
        for token in written:
            state = (state * (VOCABULARY + 1) + token + 1) % 10007
        row = self.table[self.row(state, prompt)].astype(np.float64)
        return row - np.log(np.exp(row).sum())


@functools.partial(jax.jit, static_argnames=("seed", "decoding", "read", "length", "stop_ids"))
def _written(prompts, finished, keys, stops, *, seed, decoding, read, length, stop_ids):
    model = TableModel(seed, stop_ids)
    settings = {"decoding": decoding, "max_length": length, "vocabulary_size": None}
    if decoding.method == "beam":
        return beam_search(model, model.started(prompts, read), finished, stops, **settings)
    rule = SamplingRule(decoding, keys, stops, None)
    begun = start_sampling(model, model.started(prompts, read), finished, rule, max_length=length)
    return continue_sampling(model, begun, rule, length).output


def written(
    decoding, prompts, *, seed=0, read=False, finished=None, stops=(), length=LENGTH, examples=None, stop_ids=()
):
    prompts = np.asarray(prompts)
    examples = range(len(prompts)) if examples is None else examples
    keys = np.array([draw_key(decoding.seed, example) for example in examples])
    finished = np.zeros(len(prompts), bool) if finished is None else np.asarray(finished)
    return _written(
        prompts,
        finished,
        keys,
        stop_table(stops),
        seed=seed,
        decoding=decoding.compiled_part(),
        read=read,
        length=length,
        stop_ids=stop_ids,
    )


def ends(text, stops):
    return text[-1] == EOS or any(text[-len(stop) :] == stop for stop in stops)


def every_text(model, prompt, stops=(), length=LENGTH):
    """Every text that can be written, with its log-likelihood."""
    going = [((), 0.0)]
    for _ in range(length):
        step = [
            ((*text, token), total + own)
            for text, total in going
            for token, own in enumerate(model.log_probabilities(prompt, text))
        ]
        yield from (item for item in step if ends(item[0], stops))
        going = [item for item in step if not ends(item[0], stops)]
    yield from going


def filled(text, length=LENGTH):
    return [*text, *[PAD] * (length - len(text))]


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize(
    ("length_penalty", "stops"), [(0.0, ()), (1.0, ()), (2.5, ()), (-1.0, ()), (1.0, ((2, 3), (0,)))]
)
def test_beams_that_cover_everything_find_the_best_of_all_texts(length_penalty, stops, read):
    decoding = DecodingConfig("beam", beams=64, length_penalty=length_penalty)
    prompts = [0, 1, 2, 3, 4]
    tokens, scores = written(decoding, prompts, read=read, stops=stops)
    best_lengths = set()
    for prompt, found, values in zip(prompts, np.asarray(tokens), np.asarray(scores), strict=True):
        ranked = sorted(
            ((total / len(text) ** length_penalty, text) for text, total in every_text(TableModel(), prompt, stops)),
            reverse=True,
        )
        assert [row.tolist() for row in found[:10]] == [filled(text) for _, text in ranked[:10]]
        np.testing.assert_allclose(values[:10], [value for value, _ in ranked[:10]], rtol=1e-4)
        best_lengths.add(len(ranked[0][1]))
    assert len(best_lengths) > 1 or length_penalty in (2.5, -1.0)


def test_one_beam_writes_what_greedy_decoding_writes():
    prompts = list(range(20))
    greedy = np.asarray(written(GREEDY, prompts, length=8))
    tokens, scores = written(DecodingConfig("beam", early_stopping=True, length_penalty=0.0), prompts, length=8)
    # A single beam passes over EOS only if it is not the likeliest, and then goes on with the likeliest.
    np.testing.assert_array_equal(tokens[:, 0], greedy)
    model = TableModel()
    for prompt, text, value in zip(prompts, greedy.tolist(), scores[:, 0], strict=True):
        text = text[: text.index(EOS) + 1] if EOS in text else text
        total = sum(model.log_probabilities(prompt, text[:place])[token] for place, token in enumerate(text))
        np.testing.assert_allclose(value, total, rtol=1e-4)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_company_never_changes_what_a_search_finds(early_stopping):
    decoding = DecodingConfig("beam", beams=3, early_stopping=early_stopping)
    prompts = np.arange(12)
    tokens, scores = written(decoding, prompts, length=9)
    for prompt in prompts:
        alone, value = written(decoding, [prompt], length=9)
        np.testing.assert_array_equal(alone[0], tokens[prompt])
        np.testing.assert_array_equal(value[0], scores[prompt])


def test_earlier_stopping_finds_nothing_better():
    found = {
        kind: np.asarray(
            written(DecodingConfig("beam", beams=2, early_stopping=kind), np.arange(60), length=9).scores[:, 0]
        )
        for kind in (True, False, "never")
    }
    assert (found[True] <= found[False]).all()
    assert (found[False] <= found["never"]).all()
    assert (found[True] < found[False]).any()
    assert (found[False] < found["never"]).any()


def test_a_text_is_not_ended_before_its_shortest_length():
    for decoding in (
        DecodingConfig(min_length=3),
        DecodingConfig("beam", beams=3, min_length=3),
        DecodingConfig("sample", min_length=3),
    ):
        tokens = written(decoding, np.arange(40), length=6)
        tokens = np.asarray(tokens.tokens[:, 0] if decoding.method == "beam" else tokens)
        assert not (tokens[:, :3] == EOS).any()
        assert (tokens[:, 3] == EOS).any()


@pytest.mark.parametrize("decoding", [GREEDY, DecodingConfig("beam", beams=64), DecodingConfig("sample")])
def test_further_tokens_of_the_model_end_a_text_as_a_stop_would(decoding):
    stopped, ended = (written(decoding, range(12), **how) for how in ({"stops": [(2,), (3,)]}, {"stop_ids": (2, 3)}))
    jax.tree.map(np.testing.assert_array_equal, stopped, ended)
    tokens = ended.tokens if decoding.method == "beam" else ended
    assert {2, 3, EOS} <= set(np.asarray(tokens).ravel().tolist())


@pytest.mark.parametrize("decoding", [DecodingConfig(min_length=3), DecodingConfig("beam", beams=3, min_length=3)])
def test_the_shortest_length_holds_for_every_token_that_ends(decoding):
    found = written(decoding, range(40), length=6, stop_ids=(2,))
    tokens = np.asarray(found.tokens[:, 0] if decoding.method == "beam" else found)
    assert not np.isin(tokens[:, :3], (EOS, 2)).any()
    assert (tokens[:, 3] == 2).any()


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_a_row_writes_nothing_behind_its_end_and_an_empty_one_nothing(method):
    decoding = DecodingConfig(method, **({"beams": 2} if method == "beam" else {}))
    finished = np.arange(40) % 5 == 0
    tokens = written(decoding, np.arange(40), finished=finished, stops=[(3,)], length=7)
    tokens = np.asarray(tokens.tokens[:, 0] if method == "beam" else tokens)
    assert (tokens[finished] == PAD).all()
    lengths = set()
    for row in tokens[~finished].tolist():
        end = next((place for place, token in enumerate(row) if token in (EOS, 3)), len(row) - 1)
        assert row[end + 1 :] == [PAD] * (6 - end)
        lengths.add(end)
    assert len(lengths) > 2


# --- drawing -----------------------------------------------------------------------------------------------------------


def exact(decoding, log_probabilities):
    """The probabilities after temperature, top_k and top_p, by their definitions."""
    shares = np.exp(log_probabilities / decoding.temperature)
    order = np.argsort(-shares)
    if decoding.top_k:
        shares[order[decoding.top_k :]] = 0
    shares /= shares.sum()
    held = 0.0
    for token in order:
        if held >= decoding.top_p:
            shares[token] = 0
        held += shares[token]
    return shares / shares.sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 2.0},
        {"top_k": 2},
        {"top_p": 0.8},
        {"temperature": 1.5, "top_k": 3, "top_p": 0.9},
    ],
)
def test_texts_are_drawn_with_their_exact_probabilities(options):
    decoding, draws, model, prompt = DecodingConfig("sample", seed=5, **options), 6000, TableModel(), 3
    tokens = np.asarray(written(decoding, np.full(draws, prompt), length=2))
    expected = {}
    for first, own in enumerate(exact(decoding, model.log_probabilities(prompt, ()))):
        if first == EOS:
            expected[first, PAD] = own
            continue
        for second, then in enumerate(exact(decoding, model.log_probabilities(prompt, (first,)))):
            expected[first, second] = own * then
    counts = {pair: 0 for pair in itertools.product(range(VOCABULARY), repeat=2)}
    for pair in map(tuple, tokens.tolist()):
        counts[pair] += 1
    possible = [pair for pair in counts if expected.get(pair, 0) > 0]
    assert sum(counts[pair] for pair in possible) == draws  # nothing that the filters forbid
    test = stats.chisquare([counts[pair] for pair in possible], [expected[pair] * draws for pair in possible])
    assert test.pvalue > 0.01
    assert len(possible) > 2


def test_a_draw_depends_on_seed_example_and_step_and_not_on_the_batch():
    decoding, prompts = DecodingConfig("sample", temperature=3.0, seed=1), np.full(30, 2)
    together = np.asarray(written(decoding, prompts, length=8))
    backwards = np.asarray(written(decoding, prompts[:7], examples=range(6, -1, -1), length=8))
    np.testing.assert_array_equal(backwards[::-1], together[:7])
    assert len(set(map(tuple, together.tolist()))) > 10
    other = np.asarray(written(DecodingConfig("sample", temperature=3.0, seed=2), prompts, length=8))
    assert (other != together).any(axis=1).sum() > 10


def test_filters_by_hand():
    logits = jnp.log(jnp.array([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]]))

    def kept(**options):
        return np.isfinite(sampling_logits(logits, DecodingConfig("sample", **options))).tolist()

    everything = [True] * 4
    assert kept(top_k=2) == [[False, True, False, True], everything]  # equally likely ones stay together
    assert kept(top_k=9) == [everything] * 2
    assert kept(top_p=0.65)[0] == [False, True, False, True]
    assert kept(top_p=0.75)[0] == [False, True, True, True]
    assert kept(top_p=0.001)[0] == [False, True, False, False]
    assert kept(top_k=3, top_p=0.7)[0] == [False, True, False, True]  # 0.4 and 0.3 are 7/9 of what top_k leaves


# --- stopping ----------------------------------------------------------------------------------------------------------


def test_stop_sequences_end_a_row_where_they_first_stand():
    prompts = np.arange(40)
    free = np.asarray(written(GREEDY, prompts, length=8)).tolist()
    stops = [(2, 3), (0,), (3, 3, 2)]
    held = np.asarray(written(GREEDY, prompts, stops=stops, length=8)).tolist()
    stopped_at = set()
    for full, row in zip(free, held, strict=True):
        text = full[: full.index(EOS) + 1] if EOS in full else full
        found = [
            place + len(stop)
            for stop in stops
            for place in range(len(text))
            if tuple(text[place : place + len(stop)]) == stop
        ]
        assert row == filled(text[: min(found)] if found else text, 8)
        stopped_at |= {min(found)} if found else set()
    assert len(stopped_at) > 2


def test_text_is_cut_at_the_first_stop_however_it_was_tokenised():
    def decode(ids):
        return "".join(chr(token) for token in ids)

    ids = list(map(ord, "one\nQ: two\nQ: three"))
    assert cut_at_stop(ids, ("Q:",), decode) == "one\n"
    assert cut_at_stop(ids, ("three", "\nQ:", "zero"), decode) == "one"
    assert cut_at_stop(ids, (tuple(map(ord, "two")),), decode) == "one\nQ: "
    assert cut_at_stop(ids, (tuple(map(ord, "two")), "\n"), decode) == "one"
    assert cut_at_stop(ids, (), decode) == decode(ids)


def test_only_texts_that_their_tokens_spell_stop_on_the_device():
    words = {"a": 5, "b": 6, "?": 0}

    def encode(text):
        return [words.get(character, 0) for character in text]

    def decode(ids):
        return "".join({5: "a", 6: "b"}.get(token, "?") for token in ids)

    assert token_stops(("ab", "a\n", "", (7, 8), (5, 6)), encode, decode) == [(5, 6), (7, 8)]
    assert token_stops(("q",), {"a": 5}.__getitem__, decode) == []


# --- T5 ----------------------------------------------------------------------------------------------------------------


def prompts_of_t5(rows=3, longest=7):
    rng = np.random.default_rng(0)
    return rng.integers(3, 61, (rows, longest)).astype(np.int32), np.array([7, 2, 5], np.int32)[:rows]


def test_beams_read_one_encoded_input_together(model):
    tokens, lengths = prompts_of_t5()
    t5 = merge(*model)
    segments = (np.arange(7) < lengths[:, None]).astype(np.int32)

    @functools.partial(jax.jit, static_argnames="shared")
    def logits(written, shared):
        if shared:
            cache = repeat_rows(t5.init_cache(t5.encode(tokens, segments), segments, 4), 2)
        else:
            many = np.repeat(segments, 2, axis=0)
            cache = t5.init_cache(t5.encode(np.repeat(tokens, 2, axis=0), many), many, 4)
        found = []
        for column in range(3):
            step, cache = t5.decode_step(cache, written[:, column])
            found.append(step)
        return jnp.stack(found)

    written_tokens = np.random.default_rng(1).integers(3, 61, (6, 3)).astype(np.int32)
    np.testing.assert_allclose(logits(written_tokens, True), logits(written_tokens, False), rtol=1e-4, atol=1e-4)


def test_a_search_holds_no_second_copy_of_what_the_encoder_read(model):
    graphdef, params = model
    tokens, lengths = prompts_of_t5()
    decoding = DecodingConfig("beam", beams=2)
    program = str(
        jax.make_jaxpr(lambda: generate(params, tokens, lengths, graphdef=graphdef, max_length=5, decoding=decoding))()
    )
    layers, heads, width = CONFIG.num_decoder_layers, CONFIG.num_heads, CONFIG.d_kv
    assert f"f32[{layers},3,{heads},7,{width}]" in program  # the inputs' keys, a row a prompt
    assert f"f32[{layers},6,{heads},5,{width}]" in program  # the beams' own
    assert f"f32[{layers},6,{heads},7,{width}]" not in program


def test_layers_taken_apart_write_the_same_beams(model, monkeypatch):
    graphdef, params = model
    tokens, lengths = prompts_of_t5()
    options = {"graphdef": graphdef, "max_length": 5, "decoding": DecodingConfig("beam", beams=2)}
    found = []
    for sizes in (range(0), range(1, 2**40)):
        monkeypatch.setattr(stack, "UNSTACKED_BYTES", sizes)
        program = jax.jit(functools.partial(generate.__wrapped__, **options))
        found.append(np.asarray(program(params, tokens, lengths)))
    np.testing.assert_array_equal(*found)


# --- a decoder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_a_decoder_goes_on_from_prompts_of_many_lengths(beams):
    config = tiny_decoder()
    graphdef, params = abstract_model(config)[0], random_params(config)
    # EOS is made likely, so that some rows end early.
    params["lm_head"][:, config.eos_id] *= 2.0
    tokens, lengths = prompts_of_t5()
    decoding = DecodingConfig("beam", beams=beams) if beams > 1 else GREEDY
    found = np.asarray(
        generate(params, tokens, lengths, graphdef=graphdef, max_length=6, vocabulary_size=40, decoding=decoding)
    )
    forward = jax.jit(functools.partial(apply, graphdef))

    def log_probabilities(row, text):
        whole = [*tokens[row, : lengths[row]].tolist(), *text]
        batch = {"decoder_input_tokens": jnp.array([whole + [0] * (16 - len(whole))])}
        return np.asarray(jax.nn.log_softmax(forward(params, batch)[0, len(whole) - 1]))[:40]

    for row, written_ids in enumerate(found.tolist()):
        going, ended = [(0.0, ())], []
        while going and len(going[0][1]) < 6:
            step = sorted(
                (
                    (total + own, (*text, token))
                    for total, text in going
                    for token, own in enumerate(log_probabilities(row, text))
                ),
                reverse=True,
            )
            ended += [
                (total / len(text), text) for total, text in step[:beams] if text[-1] == config.eos_id or len(text) == 6
            ]
            going = [item for item in step if item[1][-1] != config.eos_id][:beams]
        # With one beam the first text to end is it; with more, a search may stop before this loop does.
        assert written_ids in [filled(text, 6) for _, text in (ended[:1] if beams == 1 else ended)]


# --- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "beem"}, "beam"),
        ({"temperature": 0.5}, "method='sample'"),
        ({"method": "beam", "top_p": 0.5}, "method='sample'"),
        ({"method": "sample", "beams": 2}, "method='beam'"),
        ({"early_stopping": True}, "method='beam'"),
        ({"method": "sample", "temperature": 0.0}, "above 0"),
        ({"method": "sample", "temperature": float("nan")}, "finite"),
        ({"method": "sample", "top_p": 0.0}, "at most 1"),
        ({"method": "sample", "top_p": 1.5}, "at most 1"),
        ({"method": "sample", "top_k": -1}, "top_k is -1; it must be a whole number of at least 0"),
        ({"method": "beam", "beams": 0}, "beams is 0"),
        ({"method": "beam", "early_stopping": "always"}, "'never'"),
        ({"method": "beam", "early_stopping": 1.0}, "'never'"),
        ({"method": "beam", "length_penalty": float("inf")}, "finite"),
        ({"max_length": 0}, "max_length is 0"),
        ({"max_length": 4, "min_length": 4}, "no room for EOS"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": "Q:"}, "Write \\('Q:',\\)"),
        ({"stop": ("",)}, "empty entry"),
        ({"stop": ((1, -2),)}, "token ids"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        DecodingConfig(**options)


def test_seed_and_stop_sequences_compile_nothing_again():
    one = DecodingConfig("sample", top_k=3, seed=1, stop=("a", [4, 5]), max_length=9)
    assert one.stop == ("a", (4, 5))
    assert one.compiled_part() == DecodingConfig("sample", top_k=3)
