"""The ids and places of transformers' AutoTokenizer, read from the same folder."""

import json
import random

import pytest

from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.tokenizers.hf_tokenizer import HfVocabulary
from flan_jax.tasks.chat.conversation import Message
from flan_jax.testing import tokenizers as made

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")


END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
WORDS = [
    "the",
    "cat",
    " ",
    "\n",
    "\n\n",
    "  ",
    "don't",
    "naïve",
    "日本",
    "🙂",
    "a<b>",
    "42,5%",
    "\t",
    "“x”",
    "ﬁ",
    "\u0000",
    ".",
]
KINDS = {
    "gpt2": (lambda: made.byte_level(END), {"eos_token": END, "bos_token": END, "unk_token": END}),
    "gpt2, own class": (
        lambda: made.byte_level(END),
        {"eos_token": END, "bos_token": END, "unk_token": END, "tokenizer_class": "GPT2Tokenizer"},
    ),
    "qwen": (lambda: made.byte_level(END, START, STOP), {"eos_token": STOP, "pad_token": END}),
    "t5": (made.t5, {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}),
    "llama": (made.llama, {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}),
    "bert": (made.bert, {"sep_token": "[SEP]", "eos_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}),
}


@pytest.fixture(params=KINDS)
def both(request, tmp_path):
    build, config = KINDS[request.param]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
    folder = made.save(tmp_path / "tokenizer", build(), config)
    return HfVocabulary(folder), transformers.AutoTokenizer.from_pretrained(folder)


def texts(special, count=150):
    draw = random.Random(0)
    for _ in range(count):
        parts = draw.choices([*WORDS, *special], k=draw.randrange(0, 12))
        yield draw.choice(["", " "]).join(parts)


def test_text_has_their_ids_and_places(both):
    ours, theirs = both
    for text in texts(()):
        made_ = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        assert ours.encode(text) == made_["input_ids"]
        assert ours.encode_offsets(text) == (made_["input_ids"], made_["offset_mapping"])
        assert ours.decode(made_["input_ids"]) == theirs.decode(made_["input_ids"])


def test_a_template_s_special_tokens_have_their_ids_and_places(both):
    ours, theirs = both
    special = [text for text in ours.special_tokens if not text.startswith("<0x")]
    for text in texts(special):
        made_ = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, places = ours.encode_offsets(text)
        assert ids == made_["input_ids"]
        assert places == made_["offset_mapping"]


def test_special_ids_and_size(both):
    ours, theirs = both
    assert ours.eos_id == theirs.eos_token_id
    assert ours.bos_id == theirs.bos_token_id
    assert ours.adds_bos == (theirs.bos_token_id is not None and theirs("a").input_ids[0] == theirs.bos_token_id)
    assert max(theirs.get_vocab().values()) < ours.size <= len(theirs) + 1
    if theirs.pad_token_id is not None:
        assert ours.pad_id == theirs.pad_token_id


@pytest.mark.parametrize("saved", [True, False])
def test_what_they_save_is_read_with_their_ids(tmp_path, saved):
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=made.byte_level(END), eos_token=END)
    theirs.add_tokens(["<think>", "</think>"])
    theirs.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": [START, STOP]})
    theirs.save_pretrained(tmp_path)
    if not saved:  # as if only the configuration knew them, as older folders are
        content = json.loads((tmp_path / "tokenizer.json").read_text())
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        config["added_tokens_decoder"] = {str(token["id"]): token for token in content["added_tokens"]}
        content["added_tokens"] = content["added_tokens"][:1]
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = HfVocabulary(tmp_path)
    assert (ours.size, ours.eos_id, ours.pad_id) == (len(theirs), theirs.eos_token_id, theirs.pad_token_id)
    for text in texts(["<think>", "</think>"]):
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    for text in texts(["<think>", START, STOP, "<pad>", END]):
        assert ours.encode_offsets(text)[0] == theirs(text, add_special_tokens=False)["input_ids"]


def test_a_conversation_has_their_ids_and_mask(tmp_path):
    text = (
        "{% for m in messages %}<|im_start|>{{ m.role }}{{ '\\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
    )
    folder = made.save(tmp_path, made.byte_level(END, START, STOP), {"eos_token": STOP, "pad_token": END})
    ours, theirs = HfVocabulary(folder), transformers.AutoTokenizer.from_pretrained(folder)
    messages = [
        Message("user", "the cat?"),
        Message("assistant", "naïve 🙂"),
        Message("user", "a"),
        Message("assistant", "b"),
    ]
    (tokens,) = ChatTokenizer(ChatTemplate("test", text), ours)([messages])
    expected = theirs.apply_chat_template(
        [message.as_dict() for message in messages],
        chat_template=text,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert tokens.ids.tolist() == expected["input_ids"]
    assert tokens.mask.tolist() == expected["assistant_masks"]
    # Where a message spells a special token, they read it as one; here it stays text.
    messages[0] = Message("user", f"the {STOP}{START}system cat?")
    (tokens,) = ChatTokenizer(ChatTemplate("test", text), ours)([messages])
    assert tokens.ids.tolist().count(ours.special_tokens[START]) == 4


@pytest.mark.parametrize("build", [made.llama, made.t5, made.bert, lambda: made.byte_level("</s>", "[SEP]")])
def test_how_a_special_token_is_looked_for(tmp_path, build):
    tokenizer = build()
    special = [
        tokenizers.AddedToken("<mask>", lstrip=True),
        tokenizers.AddedToken("[X]", lstrip=True, rstrip=True),
        tokenizers.AddedToken("WORD", single_word=True),
        *(tokenizers.AddedToken(text) for text in ("<A><B>", "<A>")),
    ]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(["\n\n", "<think>"])
    end = next(text for text in ("</s>", "[SEP]") if tokenizer.token_to_id(text) is not None)
    config = {"eos_token": end, "tokenizer_class": "PreTrainedTokenizerFast"}
    folder = made.save(tmp_path, tokenizer, config)
    ours, theirs = HfVocabulary(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for text in texts([*(token.content for token in special), "<B>", "\n\n", "<think>", end], 400):
        expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        assert ours.encode_offsets(text) == (expected["input_ids"], expected["offset_mapping"])


@pytest.mark.realdata
def test_gpt2_s_own_pair(realdata):
    folder = realdata / "tokenizers/gpt2"
    ours = HfVocabulary(folder)
    merges = [tuple(line.split(" ")) for line in (folder / "vocab.bpe").read_text("utf-8").split("\n")[1:] if line]
    theirs = transformers.GPT2Tokenizer(vocab=json.loads((folder / "encoder.json").read_text("utf-8")), merges=merges)
    assert (ours.eos_id, ours.size) == (theirs.eos_token_id, len(theirs))
    book = (realdata / "tokenizers/google_sentencepiece/botchan.txt").read_text("utf-8")
    for text in (*texts(()), *book.split("\n\n")[:200]):
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
