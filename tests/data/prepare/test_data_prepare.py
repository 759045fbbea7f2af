"""Preparing: stored tokens, what a second run writes, fingerprints, lengths and options."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.chat.templates import PLAIN, load_chat_template
from flan_jax.data.prepare.config import FEATURES, PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.prepare import fingerprint_parts, prepare, task_fingerprint
from flan_jax.data.prepare.tokenize import tokenize
from flan_jax.data.sources.generated import generated
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, PromptMode, Rendered, Template
from flan_jax.testing.tasks import COPY, PARITY, VOWEL, copy, parity, toy_mixture, toy_vocabulary

LENGTHS = {"inputs": 24, "targets": 4}
ALL = ("train", "validation", "test")


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


@pytest.fixture(scope="module")
def words():
    return toy_vocabulary()


@pytest.mark.parametrize("spec", [PARITY, VOWEL, COPY], ids=lambda spec: spec.name)
@pytest.mark.parametrize("mode", [mode for mode in PromptMode if not mode.reasons])
def test_stored_tokens_are_the_rendered_text(store, words, spec, mode):
    task = Prompted(spec, mode)
    report = prepare(
        [(task, ALL)], PrepareConfig(words, TokenizeConfig({"inputs": 64, "targets": 16}), seed=3), store=store
    )
    assert report.written == 3
    assert report.truncated_inputs == report.truncated_targets == 0
    for split in ALL:
        stored = store.open(
            task.name,
            split,
            task_fingerprint(task, split, PrepareConfig(words, TokenizeConfig({"inputs": 64, "targets": 16}), seed=3)),
        )
        fit = {"newlines": False, "length": lambda text: len(words.encode(text)) + 1, "max_length": 64}
        rendered = list(render_split(task, split, seed=3, **fit))
        assert len(stored) == len(rendered) > 0
        for index, example in enumerate(rendered):
            assert stored.inputs(index).tolist() == [*words.encode(example.inputs), 1]
            assert stored.targets(index).tolist() == [*words.encode(example.targets), 1]
            assert stored.options(index) == example.options
            assert stored.references(index) == example.references
        assert stored.example_ids.tolist() == [example.example_id for example in rendered]
        if not mode.few_shot:  # where no solved example fits, the record is left out
            assert stored.example_ids.tolist() == list(range(len(rendered)))
        assert stored.template_ids.tolist() == [example.template_id for example in rendered]


def test_a_second_run_writes_nothing(store, words):
    tasks = [(Prompted(PARITY), ALL), (Prompted(COPY), ("test",))]
    first = prepare(tasks, PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store)
    second = prepare(tasks, PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store)
    assert (first.written, first.skipped, second.written, second.skipped) == (4, 0, 0, 4)
    assert second.tokens == first.tokens > 0
    assert second.examples == first.examples == 64 + 16 + 16 + 16
    for name in ("truncated_inputs", "truncated_targets"):
        assert getattr(second, name) == getattr(first, name)
    json.dumps(second.as_dict())


def test_only_what_changed_is_written_again(store, words):
    prepare(
        [(Prompted(PARITY), ALL), (Prompted(COPY), ALL)], PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store
    )
    edited = dataclasses.replace(COPY, templates=(*COPY.templates, Template("Again: {words}")))
    report = prepare(
        [(Prompted(PARITY), ALL), (Prompted(edited), ALL)], PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store
    )
    assert [split.task for split in report.splits if not split.skipped] == ["toy_copy_zs_opt"] * 3


def test_a_split_asked_for_twice_is_prepared_once(store, words):
    mixture = toy_mixture()
    twice = [(task, ("validation",)) for task in (*mixture.train_tasks, *mixture.train_tasks)]
    assert len(prepare(twice, PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store).splits) == 2
    with pytest.raises(UserError, match="Two different tasks are named 'toy_parity_zs_opt'"):
        prepare([(Prompted(PARITY), ALL), (Prompted(parity(8)), ALL)], PrepareConfig(words), store=store)


def own_number(record):
    return str(record["number"])


def other_fields(record):
    return {"number": "1", "answer": "odd"}


def test_every_ingredient_is_in_the_fingerprint(words):
    base = Prompted(PARITY)
    variants = {
        "source": (Prompted(parity(65)), words, LENGTHS, 0),
        "fields": (Prompted(dataclasses.replace(PARITY, fields=other_fields)), words, LENGTHS, 0),
        "templates": (Prompted(dataclasses.replace(PARITY, templates=PARITY.templates[:2])), words, LENGTHS, 0),
        "template_ids": (Prompted(PARITY, template_ids=(0,)), words, LENGTHS, 0),
        "options": (Prompted(dataclasses.replace(PARITY, options=("even", "odd"))), words, LENGTHS, 0),
        "mode": (Prompted(PARITY, PromptMode.ZS_NOOPT), words, LENGTHS, 0),
        "seed": (base, words, LENGTHS, 1),
        "vocabulary": (base, ByteVocabulary(), LENGTHS, 0),
        "lengths": (base, words, {**LENGTHS, "inputs": 25}, 0),
    }
    config = PrepareConfig(words, TokenizeConfig(LENGTHS))
    original = fingerprint_parts(base, "train", config)
    assert {*variants, "too_long", "format"} == set(original)
    prints = {task_fingerprint(base, "train", config)}
    for part, (task, vocabulary, lengths, seed) in variants.items():
        changed = PrepareConfig(vocabulary, TokenizeConfig(lengths), seed=seed)
        parts = fingerprint_parts(task, "train", changed)
        assert {name for name in parts if parts[name] != original[name]} == {part}
        prints.add(task_fingerprint(task, "train", changed))
    assert len(prints) == len(variants) + 1
    assert task_fingerprint(base, "test", config) not in prints
    # What is kept beside the tokens is part of what is stored, where a task declares it.
    for name in ("group", "ending"):
        kept = Prompted(dataclasses.replace(PARITY, **{name: own_number}))
        added = fingerprint_parts(kept, "train", config)
        assert set(added) - set(original) == {name}
        assert added.items() > original.items()
    # What only names or measures the task changes no token.
    renamed = Prompted(dataclasses.replace(PARITY, metric="f1", cluster="other"))
    assert fingerprint_parts(renamed, "train", config) == original


CHANGED = {
    "vocabulary": ByteVocabulary(),
    "seed": 1,
    "chat_template": PLAIN,
}
"""For every field of a ``PrepareConfig`` but its options, another value."""
CHANGED_OPTIONS = {
    "lengths": {"inputs": 25, "targets": 9},
    "on_error": "skip",
    "too_long": "drop",
    "separator": " one",
    "chat_template": "plain",
}
"""For every option, another value."""


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(PrepareConfig) if field.name != "tokenize"]
)
def test_every_field_of_the_configuration_is_digested(field, words):
    first = PrepareConfig(words, TokenizeConfig(LENGTHS))
    changed = dataclasses.replace(first, **{field: CHANGED[field]})
    assert task_fingerprint(Prompted(PARITY), "train", changed) != task_fingerprint(Prompted(PARITY), "train", first)


@pytest.mark.parametrize("option", [option.name for option in dataclasses.fields(TokenizeConfig)])
def test_every_option_is_digested(option, words):
    first = TokenizeConfig(LENGTHS)
    changed = dataclasses.replace(first, **{option: CHANGED_OPTIONS[option]})
    loaded = load_chat_template(changed.chat_template) if changed.chat_template else None
    digests = [
        task_fingerprint(Prompted(PARITY), "train", PrepareConfig(words, options, chat_template=template))
        for options, template in ((first, None), (changed, loaded))
    ]
    assert len(set(digests)) == 2


def test_a_chat_template_that_was_not_loaded_is_not_passed_over(words):
    with pytest.raises(ValueError, match="'plain' is named, and no template was loaded"):
        PrepareConfig(words, TokenizeConfig(LENGTHS, chat_template="plain"))


def test_opening_with_another_vocabulary_says_so(store, words):
    task = Prompted(PARITY)
    prepare([(task, ["train"])], PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store)
    parts = fingerprint_parts(task, "train", PrepareConfig(ByteVocabulary(), TokenizeConfig(LENGTHS)))
    wanted = task_fingerprint(task, "train", PrepareConfig(ByteVocabulary(), TokenizeConfig(LENGTHS)))
    with pytest.raises(UserError, match="These changed since: vocabulary"):
        store.open(task.name, "train", wanted, parts=parts)


def test_truncations_are_counted_and_end_with_the_end(store):
    task = Prompted(copy(8))
    report = prepare(
        [(task, ["train"])], PrepareConfig(ByteVocabulary(), TokenizeConfig({"inputs": 16, "targets": 8})), store=store
    )
    stored = store.open(task.name, "train")
    rendered = list(render_split(task, "train"))
    assert report.truncated_inputs == sum(len(e.inputs) > 15 for e in rendered) == 8
    assert report.truncated_targets == sum(len(e.targets) > 7 for e in rendered) > 0
    assert stored.manifest["tally"]["truncated"] == {
        "inputs": report.truncated_inputs,
        "targets": report.truncated_targets,
    }
    for index in range(len(stored)):
        assert stored.inputs(index)[-1] == stored.targets(index)[-1] == 1
        assert len(stored.inputs(index)) == 16
        assert len(stored.targets(index)) <= 8


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=6), st.integers(2, 9), st.integers(2, 9))
def test_tokenise_trims_then_ends(texts, inputs, targets):
    vocabulary = ByteVocabulary()
    lengths = {"inputs": inputs, "targets": targets}
    counts = RecordCounts()
    rendered = [Rendered(x, y, (), (y,), i, 0) for i, (x, y) in enumerate(texts)]
    stored = list(tokenize(rendered, PrepareConfig(vocabulary, TokenizeConfig(lengths)), counts))
    assert [example.example_id for example in stored] == list(range(len(texts)))
    for feature in FEATURES:
        wholes = [vocabulary.encode(getattr(example, feature)) for example in rendered]
        assert counts.truncated[feature] == sum(len(whole) > lengths[feature] - 1 for whole in wholes)
        for whole, example in zip(wholes, stored, strict=True):
            ids = getattr(example, feature)
            assert len(ids) == min(len(whole) + 1, lengths[feature])
            np.testing.assert_array_equal(ids, [*whole[: lengths[feature] - 1], 1])


def test_an_empty_task_is_named(store, words):
    nothing = dataclasses.replace(COPY, source=generated("nothing", lambda split: [], version=1))
    with pytest.raises(
        UserError, match=r"Task 'toy_copy_zs_opt' is empty: its split 'test' has no records \(generated 'nothing'"
    ):
        prepare([(Prompted(nothing), ["test"])], PrepareConfig(words), store=store)
    assert store.tasks() == ()


def test_a_bad_record_leaves_nothing_half_written(store):
    def fields(record):
        return {"words": "a", "answer": "a" if record["number"] < 300 else ()}

    broken = dataclasses.replace(copy(400), fields=fields)
    with pytest.raises(UserError, match=r"Task 'toy_copy', record 300"):
        prepare(
            [(Prompted(PARITY), ["test"]), (Prompted(broken), ["train"])], PrepareConfig(ByteVocabulary()), store=store
        )
    assert store.tasks() == (("toy_parity_zs_opt", "test"),)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"inputs": 1, "targets": 4}, "length of 'inputs' is 1"),
        ({"inputs": 8}, "length of 'targets' is None"),
        ({"inputs": 8.5, "targets": 4}, "length of 'inputs' is 8.5"),
        ({"input": 8, "targets": 4}, r"Unknown feature length 'input'. Did you mean 'inputs'\?"),
    ],
)
def test_bad_lengths_are_refused(store, words, lengths, message):
    with pytest.raises(UserError, match=message):
        prepare([(Prompted(PARITY), ["train"])], PrepareConfig(words, TokenizeConfig(lengths)), store=store)


def test_progress_is_told_of_every_split(store, words):
    told = []
    prepare([(Prompted(PARITY), ALL)], PrepareConfig(words), store=store, progress=lambda *args: told.append(args))
    assert [(done, total, what.split) for done, total, what in told] == [
        (1, 3, "train"),
        (2, 3, "validation"),
        (3, 3, "test"),
    ]


def test_preparing_imports_no_tensorflow():
    import subprocess
    import sys

    command = (
        "import sys; from flan_jax.data.prepare import prepare; from flan_jax.data.collections import superni; from flan_jax.data.tokenizers import load_vocabulary; from flan_jax.testing import tasks; "
        "assert not {'tensorflow', 'seqio', 'jax', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", command], check=True)


def test_the_toy_vocabulary_knows_every_toy_word(words):
    assert isinstance(words, WordVocabulary)
    for spec in (PARITY, VOWEL, COPY):
        for mode in (PromptMode.ZS_OPT, PromptMode.ZS_NOOPT):
            for example in render_split(Prompted(spec, mode), "test", seed=1):
                assert words.unk_id not in words.encode(f"{example.inputs} {example.targets}")
