"""Published chat templates, which are read from TRL's package: texts, ids, and what of them is learned, as transformers has it.

TRL keeps the templates of models as they were published and a twin of most with ``{% generation %}`` marks. Ours see the
published one, which has no marks; transformers' mask comes from the twin. Where a twin marks white space behind a turn's
end, or what the generation prompt gives already, ours does not.
"""

import datetime
import functools
import importlib.metadata
import re

import numpy as np
import pytest
from test_parity_chat import WORDS, Fast

from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.data.prepare.config import PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.conversations import ConversationTask
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.sources.generated import generated
from flan_jax.errors import UserError
from flan_jax.store.store import LOSS_MASK
from flan_jax.tasks.chat.conversation import conversation

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

ENDS = (
    "</s>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>", "<|return|>", "<|call|>", "<|eot|>",
    "<|eom|>", "<|endoftext|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>",
    "<|tool_response>",  # at which Gemma 4 stops behind a call
)  # fmt: skip
OTHERS = (
    "<pad>",
    "<s>",
    "<|im_start|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<think>",
    "</think>",
    "<｜Assistant｜>",
)
TEMPLATES = (
    "cohere", "cohere2", "deepseek_r1_distill", "deepseekv3", "gemma", "gemma3", "gemma4", "glm4moe", "gptoss", "lfm2_v2",
    "llama3", "llama3_1", "llama3_2", "muse_glimmer", "nemotron_3_nano", "phi3", "qwen2_5", "qwen3", "qwen3_5_think",
    "qwen3_8", "qwen3_instruct_2507", "qwen3_vl",
)  # fmt: skip
# Those that write thoughts, and those that write tools and calls of them; the others are refused.
REASON = {"glm4moe", "gptoss", "muse_glimmer", "nemotron_3_nano", "qwen3", "qwen3_5_think", "qwen3_8"}
TOOLS = {
    "gemma4", "glm4moe", "gptoss", "lfm2_v2", "llama3_1", "llama3_2", "muse_glimmer", "nemotron_3_nano", "qwen2_5", "qwen3",
    "qwen3_5_think", "qwen3_8", "qwen3_instruct_2507", "qwen3_vl",
}  # fmt: skip
WITHOUT_END = {"glm4moe"}  # whose turns end where the next one begins
TODAY = datetime.date.today().isoformat()  # as transformers' clock has it
REFUSALS = "it refuses the conversation|it writes nothing of|does not write the thoughts"

PLAIN = [
    {"role": "user", "content": "the beans"},
    {"role": "assistant", "content": "ok."},
    {"role": "user", "content": "rain? 日本"},
    {"role": "assistant", "content": "I don't\nOslo 🙂"},
]
RAIN = {
    "type": "function",
    "function": {
        "name": "rain",
        "description": "Will it rain?",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "where"}},
            "required": ["city"],
        },
    },
}
CALL = {"type": "function", "function": {"name": "rain", "arguments": {"city": "Oslo"}}}
RECORDS = {
    "plain": {"messages": PLAIN},
    "system": {"messages": [{"role": "system", "content": "the 42"}, *PLAIN]},
    "reasoned": {
        "messages": [
            PLAIN[0], {**PLAIN[1], "reasoning_content": "the beans rain"}, PLAIN[2], {**PLAIN[3], "reasoning_content": "Oslo 42"}
        ]
    },
    "tools": {
        "messages": [
            {"role": "user", "content": "rain?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "42"},
            {"role": "assistant", "content": "ok."},
            *PLAIN[2:],
        ],
        "tools": [RAIN],
    },
}  # fmt: skip


@functools.cache
def published():
    """The texts of all templates in the package, by name."""
    try:
        files = importlib.metadata.files("trl") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("trl is not installed; `make parity-env` installs its files")
    return {file.name.removesuffix(".jinja"): file.read_text("utf-8") for file in files if file.suffix == ".jinja"}


@functools.cache
def tokenizer():
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=[*OTHERS, *ENDS],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


class Vocabulary(Fast):
    """Their tokenizer as a vocabulary that knows its special tokens."""

    eos_id = len(OTHERS)

    @functools.cached_property
    def special_tokens(self):
        return {text: number for number, text in enumerate((*OTHERS, *ENDS))}


def examples_of(name, record):
    """What is learned of a conversation: ids and mask of each example, and the counts."""
    special = (("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<pad>"))
    template = ChatTemplate(name, published()[name], special, today=TODAY)
    task = ConversationTask("talks", generated("talks", lambda split: [record], 1), template=template)
    lengths = {"inputs": 5000, "targets": 5000}
    made, counts = (
        make_preprocessor(task, PrepareConfig(Vocabulary(tokenizer()), TokenizeConfig(lengths))),
        RecordCounts(),
    )
    return [(one.targets, one.extras[LOSS_MASK]) for one in made.examples("train", counts)], counts


def theirs(messages, record, text, **options):
    return tokenizer().apply_chat_template(messages, tools=record.get("tools"), chat_template=text, **options)


def runs(mask):
    edges = np.flatnonzero(np.diff(np.asarray(mask), prepend=0, append=0))
    return edges.reshape(-1, 2).tolist()


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_and_what_is_learned_of_them_are_those_of_transformers(name, kind):
    record, text = RECORDS[kind], published()[name]
    assert "{% generation" not in text
    messages = [message.as_dict() for message in conversation(record).messages]
    try:
        whole = theirs(messages, record, text, tokenize=False)
    except Exception:
        whole = None
    writes = {"reasoned": name in REASON, "tools": name in TOOLS}.get(kind, whole is not None)
    if not writes:
        with pytest.raises(UserError, match=REFUSALS):
            examples_of(name, record)
        return
    examples, counts = examples_of(name, record)
    replies = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    assert counts.replies == len(replies)
    assert counts.turn_ends == (0 if name in WITHOUT_END else len(replies))
    assert counts.by_reply == (len(examples) > 1)
    prefixes = [messages[: index + 1] for index in replies] if len(examples) > 1 else [messages]
    for (ids, mask), prefix in zip(examples, prefixes, strict=True):
        made = theirs(prefix, record, text, return_dict=True)["input_ids"]
        assert made[: len(ids)] == ids.tolist()
        learned = [prefix[-1]] if len(examples) > 1 else [m for m in messages if m["role"] == "assistant"]
        own = runs(mask)
        assert len(own) == len(learned)
        for message, (start, end) in zip(learned, own, strict=True):
            said = tokenizer().decode(ids[start:end])
            calls = [call["function"]["name"] for call in message.get("tool_calls", [])]
            for words in (message["content"], message.get("reasoning_content", ""), *calls):
                assert words in tokenizer().decode(ids[:end]) if words in calls else words in said
            if name not in WITHOUT_END:
                assert said.rstrip().endswith(ENDS)
        check_beside_twin(name, record, prefix, ids, own)


def check_beside_twin(name, record, prefix, ids, own):
    """Compares the last replies with the mask of the template's twin, where that writes the same text."""
    twin = published().get(f"{name}_training")
    if twin is None or theirs(prefix, record, twin, tokenize=False) != theirs(
        prefix, record, published()[name], tokenize=False
    ):
        return
    made = theirs(prefix, record, twin, return_dict=True, return_assistant_tokens_mask=True)
    marked = runs(made["assistant_masks"])
    prompt = theirs(prefix[:-1], record, twin, tokenize=False, add_generation_prompt=True)
    assert len(marked) >= len(own)
    for (start, end), (first, last) in zip(own, marked[len(marked) - len(own) :], strict=True):
        assert first <= start < end <= last
        head, tail = (tokenizer().decode(made["input_ids"][a:b]) for a, b in ((first, start), (end, last)))
        assert head in prompt  # given by the prompt, so that there is nothing to learn
        assert not tail.strip() or set(re.findall(r"<[^>]*>", tail)) <= set(ENDS)


def test_enough_of_them_are_compared_with_a_mask():
    found = [name for name in TEMPLATES if f"{name}_training" in published()]
    assert len(TEMPLATES) >= 20
    assert len(found) >= 12
