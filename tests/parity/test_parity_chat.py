"""The same chat templates in transformers' tokenizers and here: text, ids, and what the assistant said."""

import functools
import random

import numpy as np
import pytest

from flan_jax.data.chat.templates import CHATML, PLAIN, ChatTemplate
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.tasks.chat.conversation import Message

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

SPECIAL = (
    "<pad>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|begin|>",
    "<|header|>",
    "<|/header|>",
    "<|eot|>",
    "[INST]",
    "[/INST]",
)

# Ours, in the manner of published ones; `MARKED` and `ENDMARKED` stand where a template may mark what the assistant says.
HEADERS = """{{- bos_token }}
{%- set ns = namespace(count=0) %}
{%- for message in messages %}
    {%- set ns.count = ns.count + 1 %}
    {{- '<|header|>' + message['role'] + '<|/header|>\n\n' }}
    {%- if message['role'] == 'assistant' -%}
        MARKED{{- message['content'] | trim + '<|eot|>' }}ENDMARKED
    {%- else -%}
        {{- message['content'] | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|/header|>\n\n' }}
{%- endif %}
"""
IM = """{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe of use.<|im_end|>\n' }}{% endif %}
{% for message in messages %}
{% if message['role'] == 'assistant' %}
{{ '<|im_start|>assistant\n' }}MARKED{{ message['content'] + '<|im_end|>' }}ENDMARKED{{ '\n' }}
{% else %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
INSTRUCT = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set lead = messages[0]['content'] + '\n\n' %}{% else %}{% set turns = messages %}{% set lead = '' %}{% endif %}
{% for message in turns %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must take turns') }}{% endif %}
{% if message['role'] == 'user' %}{{ '[INST] ' + (lead if loop.first else '') + message['content'] | trim + ' [/INST]' }}
{% elif message['role'] == 'assistant' %}MARKED{{ ' ' + message['content'] | trim + eos_token }}ENDMARKED
{% else %}{{ raise_exception('no role ' + message['role']) }}{% endif %}
{% endfor %}"""
MACRO = """{% macro head(role) %}{{ '<|header|>' ~ role ~ '|' ~ ({'r': role} | tojson) ~ '<|/header|>' }}{% endmacro %}
{{ bos_token }}
{%- for message in messages if message.content | length > 0 -%}
{%- if loop.index > 40 %}{% break %}{% endif %}
{{- head(message.role) }}
{%- if message.role == 'assistant' -%}MARKED{{ message.content }}{{ eos_token }}ENDMARKED{%- else -%}{{ message.content }}{%- endif -%}
{%- endfor %}
{%- if add_generation_prompt %}{{ head('assistant') }}{% endif %}"""
TEMPLATES = {"headers": HEADERS, "im": IM, "instruct": INSTRUCT, "macro": MACRO}


def marked(text):
    return text.replace("ENDMARKED", "{% endgeneration %}").replace("MARKED", "{% generation %}")


def unmarked(text):
    # Another tag in their place, as a tag takes the line end behind it along.
    return text.replace("ENDMARKED", "{% endif %}").replace("MARKED", "{% if true %}")


WORDS = [
    "beans",
    "the",
    "Oslo",
    "rain?",
    "naïve",
    "日本",
    "🙂",
    "a <b>",
    "\n",
    "  ",
    "don't",
    "{{ x }}",
    "42",
    "<s >",
    "I",
    "ok.",
]


@functools.cache
def fast_tokenizer():
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


class Fast(BaseVocabulary):
    """Their tokenizer as a vocabulary that knows where its tokens stand."""

    name = "fast"
    pad_id, eos_id, unk_id = SPECIAL.index("<pad>"), SPECIAL.index("</s>"), None
    has_offsets = True

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.size = len(tokenizer)

    def encode(self, text):
        return self.encode_offsets(text)[0]

    def decode(self, ids):
        return self.tokenizer.decode(ids)

    def fingerprint(self):
        return self.name

    def encode_offsets(self, text):
        made = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return made["input_ids"], made["offset_mapping"]


def conversation(seed, alternating):
    draw = random.Random(seed)
    say = lambda: " ".join(draw.choice(WORDS) for _ in range(draw.randrange(1, 9))).strip() or "hm"  # noqa: E731
    messages = [Message("system", say())] if draw.random() < 0.5 else []
    for _ in range(draw.randrange(1, 5)):
        messages.append(Message("user", draw.choice(["", " "]) + say()))
        if not alternating and draw.random() < 0.3:
            messages.append(Message("tool", say()))
        messages.append(Message("assistant", say() + draw.choice(["", "\n", "🙂"])))
    return messages


def theirs(messages, text):
    made = fast_tokenizer().apply_chat_template(
        [message.as_dict() for message in messages],
        chat_template=text,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return made["input_ids"], made["assistant_masks"]


def ours(messages, text, name="test"):
    special = (("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<pad>"))
    template = ChatTemplate(name, text, special)
    (tokens,) = ChatTokenizer(template, Fast(fast_tokenizer()))([messages])
    if isinstance(tokens, Exception):
        raise tokens
    return template, tokens


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", [*TEMPLATES, "plain", "chatml"])
def test_a_template_that_marks_replies_gives_their_text_ids_and_mask(name, seed):
    text = {"plain": PLAIN.text, "chatml": CHATML.text}.get(name) or marked(TEMPLATES[name])
    messages = conversation(seed, alternating=name == "instruct")
    template, tokens = ours(messages, text)
    dicts = [message.as_dict() for message in messages]
    for prompt in (False, True):
        rendered = fast_tokenizer().apply_chat_template(
            dicts, chat_template=text, tokenize=False, add_generation_prompt=prompt
        )
        assert template.render(messages, add_generation_prompt=prompt) == rendered
    ids, mask = theirs(messages, text)
    assert tokens.ids.tolist() == ids
    assert tokens.mask.tolist() == mask
    assert 0 < sum(mask) < len(mask)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_difference_finds_what_their_marks_say(name, seed):
    """A template without marks is understood as the same one with marks is by transformers."""
    messages = conversation(seed, alternating=name == "instruct")
    _, tokens = ours(messages, unmarked(TEMPLATES[name]))
    ids, mask = theirs(messages, marked(TEMPLATES[name]))
    assert tokens.ids.tolist() == ids
    assert tokens.mask.tolist() == mask


def test_a_last_character_of_several_tokens_belongs_to_the_reply_whole():
    """Where no marker ends a reply, they mask only the first of its last character's tokens."""
    text = "{% for m in messages %}[INST]{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    messages = [Message("user", "ok."), Message("assistant", "🦜")]
    _, tokens = ours(messages, text)
    ids, mask = theirs(messages, text)
    assert tokens.ids.tolist() == ids
    assert (tokens.mask >= np.array(mask)).all()
    assert fast_tokenizer().decode(tokens.ids[tokens.mask > 0]) == "🦜"


def test_they_refuse_what_we_refuse():
    messages = [Message("user", "x"), Message("user", "y"), Message("assistant", "z")]
    with pytest.raises(Exception, match="must take turns"):
        theirs(messages, marked(INSTRUCT))
    with pytest.raises(ValueError, match="must take turns"):
        ours(messages, marked(INSTRUCT))
