"""Templated tasks inside a chat template: the ids that transformers' own ``apply_chat_template`` gives."""

import json

import pytest

from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.chat.templates import load_chat_template
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.testing.folders import chat_model
from flan_jax.testing.tokenizers import byte_level, llama, save

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CHATML = (
    "{% for message in messages %}{% if loop.first and message.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message.role }}\n{{ message.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
ASKED = ["the cat sat on", "Is it so?\n\nOPTIONS:\n- yes\n- no", "naïve 🙂?", "  if x:\n    y"]
ANSWERS = ["yes", "no", "the dog ran", "9", "a. b\nc"]


def fast(path, tokenizer, template, **names):
    return save(path, tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, **names})


@pytest.fixture(scope="module", params=["chatml", "inst", "turn"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("chat") / request.param
    if request.param == "chatml":
        tokenizer = byte_level("<|endoftext|>", "<|im_start|>", "<|im_end|>")
        return fast(path, tokenizer, CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    if request.param == "inst":
        return fast(path, llama(), INST, bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True)
    chat_model(path, d_model=24)  # transformers wants a multiple of the heads
    config = path / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))
    return path


def test_prompts_options_and_replies(folder):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    vocabulary = load_vocabulary(folder)
    chat = ChatPrompts(load_chat_template(folder), vocabulary)
    begin = [vocabulary.bos_id] if vocabulary.adds_bos else []  # rows have it in front of every example
    for asked in ASKED:
        turns = [{"role": "user", "content": asked}]
        prompt = theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        assert [*begin, *chat.prompt(asked).tolist()] == list(prompt)
        for answer in ANSWERS:
            said = [*turns, {"role": "assistant", "content": answer}]
            whole = list(theirs.apply_chat_template(said, return_dict=False))
            text = theirs.apply_chat_template(said, tokenize=False)
            ours = [*begin, *chat.prompt(asked).tolist(), *chat.reply(answer).tolist(), *chat.end.tolist()]
            # All of it but the white space that only separates turns.
            assert ours == whole[: len(ours)]
            assert theirs.decode(whole[len(ours) :]).strip() == ""
            behind = text[: text.rindex(answer) + len(answer)]
            assert ours[: -len(chat.end)] == theirs(behind, add_special_tokens=False).input_ids
