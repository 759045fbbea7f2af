"""A separator in the place of the end of sequence behind inputs: what is stored, cut, refused and told apart."""

import numpy as np
import pytest

from flan_jax.data.prepare.config import PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.words import WordVocabulary
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import COPY

BYTES = ByteVocabulary()
TASK = Prompted(COPY)


def examples(inputs=60, **options):
    config = PrepareConfig(BYTES, TokenizeConfig({"inputs": inputs, "targets": 40}, **options))
    return list(make_preprocessor(TASK, config).examples("train", RecordCounts()))


def test_it_stands_behind_inputs_and_targets_end_as_ever():
    for plain, own in zip(examples(), examples(separator="\n\n"), strict=True):
        np.testing.assert_array_equal(own.targets, plain.targets)
        assert own.targets[-1] == BYTES.eos_id
        assert own.inputs.tolist() == [*plain.inputs[:-1].tolist(), *BYTES.encode("\n\n")]


def test_inputs_are_cut_before_it():
    whole, cut = examples(separator="->"), examples(inputs=12, separator="->")
    assert {len(example.inputs) for example in cut} == {12}
    for short, long in zip(cut, whole, strict=True):
        assert short.inputs.tolist() == [*long.inputs[:10].tolist(), *BYTES.encode("->")]
    longest = max(len(example.inputs) for example in whole)
    assert [example.inputs.tolist() for example in examples(inputs=longest, separator="->", too_long="fail")] == [
        example.inputs.tolist() for example in whole
    ]
    with pytest.raises(UserError, match=rf"its inputs have {longest} tokens with what ends them"):
        examples(inputs=longest - 1, separator="->", too_long="fail")


def test_it_is_part_of_the_fingerprint_only_where_it_is_given():
    lengths = {"inputs": 60, "targets": 40}
    parts = [PrepareConfig(BYTES, TokenizeConfig(lengths, separator=text)).parts() for text in ("", "\n", " ")]
    assert "separator" not in parts[0]
    assert len({part.get("separator") for part in parts}) == 3


@pytest.mark.parametrize(
    ("separator", "vocabulary", "message"),
    [
        ("\n", WordVocabulary(["cat"]), "writes with 0 ids, but it takes at least one"),
        ("a" * 9, BYTES, "writes with 9 ids, but it takes at least one, and fewer than the 9 of the inputs"),
        (3, BYTES, "separator is 3; it must be a text"),
    ],
)
def test_what_separates_nothing_is_refused(separator, vocabulary, message):
    with pytest.raises(UserError, match=message):
        PrepareConfig(vocabulary, TokenizeConfig({"inputs": 9, "targets": 9}, separator=separator))
