"""Templated tasks inside a chat template, and special tokens that a configuration names: which ids come of them."""

import dataclasses
import pickle

import numpy as np
import pytest

from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.chat.templates import CHATML, ChatTemplate, load_chat_template
from flan_jax.data.prepare.config import PrepareConfig, RecordCounts, TokenizeConfig, input_end_ids
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.protocol import encode_with_special_tokens
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.folders import chat_model
from flan_jax.testing.tasks import COPY, PARITY

BYTES = ByteVocabulary()
LENGTHS = {"inputs": 160, "targets": 40}
TASK = Prompted(COPY)
TURN = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "chat"
    chat_model(path)
    return path


def examples(vocabulary, task=TASK, lengths=LENGTHS, chat_template=None, **options):
    counts = RecordCounts()
    config = PrepareConfig(vocabulary, TokenizeConfig(lengths, **options), chat_template=chat_template)
    return list(make_preprocessor(task, config).examples("train", counts)), counts


def test_ids_of_bytes_in_chatml():
    chat = ChatPrompts(CHATML, BYTES)
    around = BYTES.encode("<|im_start|>user\n"), [1], BYTES.encode("\n<|im_start|>assistant\n")
    assert chat.prompt("Hi?").tolist() == [*around[0], *BYTES.encode("Hi?"), *around[1], *around[2]]
    assert chat.reply("Ho.").tolist() == BYTES.encode("Ho.")
    assert chat.end.tolist() == [1]
    again = pickle.loads(pickle.dumps(chat))
    assert again.prompt("Hi?").tolist() == chat.prompt("Hi?").tolist()


def test_ids_of_a_published_tokenizer_whose_turns_end_with_a_token_of_their_own(folder):
    vocabulary = load_vocabulary(folder)
    chat = ChatPrompts(load_chat_template(folder), vocabulary)
    # The row itself begins with the token that begins a text. What the data spells is text.
    for said in ("the cat?", "a <|turn|> b"):
        expected = [*vocabulary.encode(f"user: {said}"), TURN, *vocabulary.encode("assistant:")]
        assert chat.prompt(said).tolist() == expected
        assert chat.reply(said).tolist() == vocabulary.encode(f" {said}")
    assert chat.end.tolist() == [TURN]


@pytest.mark.parametrize("mode", [PromptMode.ZS_OPT, PromptMode.FS_OPT])
def test_examples_are_what_is_rendered_in_turns(folder, mode):
    vocabulary, template = load_vocabulary(folder), load_chat_template(folder)
    task = Prompted(PARITY, mode=mode)
    plain, _ = examples(BYTES, task, {"inputs": 400, "targets": 40})
    made, counts = examples(vocabulary, task, {"inputs": 400, "targets": 40}, chat_template=template)
    chat = ChatPrompts(template, vocabulary)
    assert len(made) == len(plain) == counts.records
    for own, bare in zip(made, plain, strict=True):
        assert len(own.inputs) <= 400
        if mode is PromptMode.ZS_OPT:
            assert own.inputs.tolist() == chat.prompt(BYTES.decode(bare.inputs)).tolist()
        answer = BYTES.decode(bare.targets)
        assert own.targets.tolist() == [*vocabulary.encode(f" {answer}"), TURN]
        assert (own.options, own.references) == (bare.options, bare.references)


def test_a_long_prompt_is_cut_in_the_users_words_and_a_long_reply_keeps_its_end(folder):
    vocabulary, template = load_vocabulary(folder), load_chat_template(folder)
    whole, _ = examples(vocabulary, chat_template=template)
    ended = [TURN, *vocabulary.encode("assistant:")]
    room = min(len(example.inputs) for example in whole) - 2
    cut, counts = examples(vocabulary, lengths={"inputs": room, "targets": 3}, chat_template=template)
    assert counts.truncated == {"inputs": len(whole), "targets": len(whole)}
    for short, long in zip(cut, whole, strict=True):
        assert len(short.inputs) <= room
        assert short.inputs[-len(ended) :].tolist() == ended
        kept = len(short.inputs) - len(ended) - 1
        assert short.inputs[:kept].tolist() == long.inputs[:kept].tolist()
        assert short.targets.tolist() == [*long.targets[:2].tolist(), TURN]
    kept, counts = examples(
        vocabulary, lengths={"inputs": room, "targets": 40}, chat_template=template, too_long="drop"
    )
    assert (kept, counts.dropped) == ([], len(whole))
    with pytest.raises(UserError, match="its inputs have"):
        examples(vocabulary, lengths={"inputs": room, "targets": 40}, chat_template=template, too_long="fail")


def test_a_store_without_it_is_not_taken_for_one_with_it(folder):
    vocabulary, template = load_vocabulary(folder), load_chat_template(folder)
    other = dataclasses.replace(template, text=template.text.replace(": {{", ":  {{"))
    parts = [
        PrepareConfig(vocabulary, TokenizeConfig(LENGTHS), chat_template=one).parts()
        for one in (None, template, CHATML, other)
    ]
    assert "chat_template" not in parts[0]
    assert len({str(own) for own in parts}) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"separator": "\n", "chat_template": CHATML}, "the chat template says what stands between turns"),
        (
            {"chat_template": ChatTemplate("endless", "{% for m in messages %}{{ m.content }}\n{% endfor %}")},
            "ends no reply",
        ),
        (
            {"chat_template": CHATML, "lengths": {"inputs": 9, "targets": 9}},
            "The length of 'inputs' is 9, but the chat",
        ),
        (
            {"chat_template": ChatTemplate("shouts", "{% for m in messages %}{{ m.content | upper }}!{% endfor %}")},
            "does not write the reply 'Well.' as it is",
        ),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(UserError) as raised:
        examples(BYTES, **options)
    assert says in str(raised.value)


def test_a_separator_may_name_special_tokens_and_data_may_not(folder):
    vocabulary = load_vocabulary(folder)
    assert input_end_ids(vocabulary, "<|turn|>\nassistant:").tolist() == [TURN, *vocabulary.encode("\nassistant:")]
    assert input_end_ids(BYTES, "\n</s>").tolist() == [*BYTES.encode("\n"), 1]
    assert encode_with_special_tokens(BYTES, "a</s>b") == [*BYTES.encode("a"), 1, *BYTES.encode("b")]
    made, _ = examples(vocabulary, separator="<|turn|>")
    assert {example.inputs[-1] for example in made} == {TURN}
    assert TURN not in vocabulary.encode("<|turn|>")
    spelled, named = (
        PrepareConfig(vocabulary, TokenizeConfig(LENGTHS, separator=text)).parts()["separator"]
        for text in ("->", "<|turn|>")
    )
    assert spelled != named
    with pytest.raises(UserError, match="the token that pads rows"):
        PrepareConfig(vocabulary, TokenizeConfig(LENGTHS, separator="<pad>"))


def test_control_pieces_of_sentencepiece(realdata):
    vocabulary = load_vocabulary(str(realdata / "tokenizers/google_seqio/sentencepiece.model"))
    assert encode_with_special_tokens(vocabulary, "the</s>") == [*vocabulary.encode("the"), vocabulary.eos_id]
    assert vocabulary.eos_id not in vocabulary.encode("the</s>")
    np.testing.assert_array_equal(input_end_ids(vocabulary, "</s>"), [vocabulary.eos_id])
