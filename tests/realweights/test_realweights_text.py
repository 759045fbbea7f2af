"""SmolLM2-135M-Instruct comes in and writes, token for token, what transformers writes with the same folder."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.data.chat.templates import load_chat_template
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.examples import EvalExample
from flan_jax.experiments.generate import Answerer
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.tasks.chat.conversation import Message

pytestmark = [pytest.mark.realweights, pytest.mark.filterwarnings("default"), pytest.mark.timeout(1200)]

COUNT = 8
"""Tokens written behind each prompt."""
PLAIN = (
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "Water boils at 100 degrees Celsius, which is",
    "Once upon a time, in a small village,",
    "The three primary colors are",
    "1, 2, 4, 8, 16,",
    "Dear Sir or Madam,\n\nI am writing to",
    "Photosynthesis is the process by which",
    "In 1969, Neil Armstrong",
    "Das Haus ist",
)
ASKED = (
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Is 17 a prime number? Answer yes or no.",
    "Translate to Spanish: The cat sleeps.",
    "Name three planets of the solar system.",
    "Is this review positive or negative? The food was awful.",
    "What is 12 + 30?",
    "Explain gravity to a child in one sentence.",
    "Give the opposite of 'hot'.",
    "Which is heavier, a kilogram of iron or a kilogram of feathers?",
)
CONVERSATIONS = (
    [("user", "Hi  there, it is 12:05.\n\n  Indented 3.5"), ("assistant", "Hello!"), ("user", "What time is it?")],
    [("system", "Answer in one word."), ("user", "Capital of Italy?")],
    [("user", "def f(x):\n    return x  1  22"), ("assistant", "    indented\n"), ("user", "é 漢字 🙂 <b>")],
)


def answerer(folder, *, beams=1, chat=True):
    decoding = DecodingConfig("beam", beams=beams) if beams > 1 else DecodingConfig()
    template = load_chat_template(folder) if chat else None
    return Answerer(run_of_folder(folder), max_tokens=COUNT, decoding=decoding, chat=template, ended=False)


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_are_token_for_token_those_of_transformers(realweights, peer, beams):
    """Ten texts to go on with and ten instructions in the chat template."""
    turns = [[{"role": "user", "content": text}] for text in ASKED]
    ids = [peer.tokenizer(text)["input_ids"] for text in PLAIN]
    ids += [peer.tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=False) for one in turns]
    examples = [EvalExample(np.array(one, np.int32), (), ("",), index, 0) for index, one in enumerate(ids)]
    # Greedily each prompt stands alone there, without padding; a search takes them together, or it would take longest.
    batches = [[one] for one in ids] if beams == 1 else [ids]
    expected = [row for batch in batches for row in peer.write(batch, beams=beams, count=COUNT)]
    # All in one batch here, so that one program is compiled.
    ours = dataclasses.replace(answerer(realweights, beams=beams)._predictor, batch_size=len(ids)).generate(examples)
    for text, written, answer in zip((*PLAIN, *ASKED), expected, ours, strict=True):
        assert written, text
        assert answer == peer.tokenizer.decode(written), text


def test_ids_of_text_and_of_conversations(realweights, peer):
    vocabulary = load_vocabulary(realweights)
    chat = ChatTokenizer(load_chat_template(realweights), vocabulary)
    for text in (*PLAIN, *ASKED, *(content for turns in CONVERSATIONS for _, content in turns)):
        assert list(vocabulary.encode(text)) == peer.tokenizer(text)["input_ids"], text
    for turns in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in turns]
        theirs = peer.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert chat.prompt([Message(role, content) for role, content in turns]).tolist() == theirs


def test_an_imported_folder_has_the_same_weights_and_answers(realweights, tmp_path, capsys):
    imported = tmp_path / "imported"
    assert main(["import-hf", str(realweights), str(imported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 134_515_008
    ours, theirs = (answerer(folder) for folder in (realweights, imported))
    leaves = [jax.tree.leaves(which._predictor.params) for which in (ours, theirs)]
    assert all(np.array_equal(one, other) for one, other in zip(*leaves, strict=True))
    assert ours.answer(ASKED[0]) == theirs.answer(ASKED[0]) == "The capital of France is Paris."
    assert main(["generate", "--model_dir", str(imported), "--chat", ASKED[0]]) == 0
    assert capsys.readouterr().out == "The capital of France is Paris.\n"
