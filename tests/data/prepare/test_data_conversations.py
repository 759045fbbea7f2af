"""Conversations for a decoder: the loss mask, cuts, templates that rewrite, and fingerprints."""

import itertools
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.chat.templates import CHAT_TEMPLATES, ChatTemplate
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.prepare.config import PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.conversations import ConversationTask
from flan_jax.data.prepare.prepare import fingerprint_parts, prepare
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.sources.generated import generated
from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.errors import UserError
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.loader import PackedBatches
from flan_jax.store.store import LOSS_MASK, TokenStore
from flan_jax.tasks.chat.conversation import Message
from flan_jax.tasks.task import Task

BYTES = ByteVocabulary()
BEANS = [
    ("user", "When do I plant beans?"),
    ("assistant", "In May."),
    ("user", "How deep?"),
    ("assistant", "A thumb."),
    ("user", "Thanks"),
]


def talk(turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def task_of(*records, **changes):
    return ConversationTask("talks", generated("talks", lambda split: list(records), 1), **changes)


def examples(task, *, inputs=100, targets=100, counts=None, vocabulary=BYTES, **config):
    made = make_preprocessor(
        task, PrepareConfig(vocabulary, TokenizeConfig({"inputs": inputs, "targets": targets}, **config))
    )
    return list(made.examples("train", counts or RecordCounts()))


def shown(example, vocabulary=BYTES):
    """The text with what the loss counts in brackets; `$` is the end-of-sequence id."""
    mask = example.extras[LOSS_MASK]
    cuts = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(mask)]
    parts = []
    for start, end in itertools.pairwise(cuts):
        ids = example.targets[start:end].tolist()
        text = ""
        while ids:
            before = ids.index(vocabulary.eos_id) if vocabulary.eos_id in ids else len(ids)
            text += vocabulary.decode(ids[:before]) + ("$" if before < len(ids) else "")
            ids = ids[before + 1 :]
        parts.append(f"[{text}]" if mask[start] else text)
    return "".join(parts)


GOLDEN = {
    "plain": "User: When do I plant beans?\n\nAssistant:[ In May.$]\n\nUser: How deep?\n\nAssistant:[ A thumb.$]",
    "chatml": (
        "<|im_start|>user\nWhen do I plant beans?$\n<|im_start|>assistant\n[In May.$]\n"
        "<|im_start|>user\nHow deep?$\n<|im_start|>assistant\n[A thumb.$]"
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_loss_counts_what_the_assistant_says_and_where_it_stops(name):
    (example,) = examples(task_of(talk(BEANS), template=name))
    assert shown(example) == GOLDEN[name]
    assert example.inputs.size == 0
    assert example.extras[LOSS_MASK].dtype == np.uint8


def test_sentencepiece_reads_a_conversation_as_it_reads_a_prompt_and_its_answer(sentencepiece_models):
    vocabulary = SentencePieceVocabulary(sentencepiece_models["t5"])
    turns = [("user", "the cat sat"), ("assistant", "a dog ran"), ("user", "by the door"), ("assistant", "the tree")]
    (example,) = examples(task_of(talk(turns)), vocabulary=vocabulary)
    mask, ids = example.extras[LOSS_MASK], example.targets
    learned = [*vocabulary.encode(" a dog ran"), vocabulary.eos_id, *vocabulary.encode(" the tree"), vocabulary.eos_id]
    assert ids[mask > 0].tolist() == learned
    tokenizer = ChatTokenizer(CHAT_TEMPLATES["plain"], vocabulary)
    for reply in (1, 3):
        prompt = tokenizer.prompt([Message(*turn) for turn in turns[:reply]])
        assert ids[: len(prompt)].tolist() == prompt.tolist()
        assert mask[len(prompt)] == 1
    assert mask[len(prompt) :].all()


contents = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4\ufdd5"), min_size=1
).filter(str.strip)
talks = st.lists(st.tuples(st.sampled_from(["user", "tool", "assistant"]), contents), max_size=6)
UNMARKED = ChatTemplate(
    "unmarked",
    "{% for m in messages %}({{ m.role }}){{ m.content }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}(assistant){% endif %}",
)


@given(talks, contents, st.sampled_from([*CHAT_TEMPLATES.values(), UNMARKED]))
def test_the_mask_selects_exactly_what_the_assistant_says(turns, last, template):
    turns = [("user", "?"), *turns, ("assistant", last)]
    (example,) = examples(task_of(talk(turns), template=template, repeated="keep"), inputs=50_000, targets=50_000)
    learned = example.targets[example.extras[LOSS_MASK] > 0].tolist()
    before = " " if template.name == "plain" else ""
    replies = [content for role, content in turns if role == "assistant"]
    if template is not UNMARKED:
        replies = [content.lstrip("\n").rstrip() for content in replies]
    wanted = [[*BYTES.encode(before + content), BYTES.eos_id] for content in replies]
    assert learned == [token for reply in wanted for token in reply]


def test_the_token_that_begins_a_sequence_is_left_to_the_row():
    begun = ChatTemplate("begun", "<s>" + CHAT_TEMPLATES["plain"].text, (("bos_token", "<s>"), ("eos_token", "</s>")))
    plain, with_token = (examples(task_of(talk(BEANS), template=one))[0] for one in ("plain", begun))
    assert with_token.targets.tolist() == plain.targets.tolist()
    (html,) = examples(task_of(talk([("user", "<s>?"), ("assistant", "A tag: </s>")]), template=begun))
    assert shown(html) == "User: <s>?\n\nAssistant:[ A tag: </s>$]"


def test_a_template_does_not_see_what_follows_the_last_reply():
    ends = "{% if messages[-1].role != 'assistant' %}{{ raise_exception('unanswered') }}{% endif %}"
    template = ChatTemplate("strict", ends + CHAT_TEMPLATES["plain"].text)
    assert shown(examples(task_of(talk(BEANS), template=template))[0]) == GOLDEN["plain"]


class Letters:
    """One id a character, places known; a vocabulary of a published tokenizer looks like this to us."""

    name, size, pad_id, eos_id, unk_id = "letters", 0x110000 + 2, 0x110000, 0x110001, None

    def encode(self, text):
        return list(map(ord, text))

    def encode_offsets(self, text):
        return self.encode(text), [(i, i + 1) for i in range(len(text))]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def fingerprint(self):
        return "letters"


def test_a_vocabulary_that_knows_places_gets_the_text_whole():
    (example,) = examples(task_of(talk(BEANS), template="chatml"), vocabulary=Letters(), inputs=300)
    text, mask = "".join(map(chr, example.targets)), example.extras[LOSS_MASK]
    assert text == GOLDEN["chatml"].replace("[", "").replace("]", "").replace("$", "<|im_end|>")
    assert "".join(c for c, said in zip(text, mask, strict=True) if said) == "In May.<|im_end|>A thumb.<|im_end|>"


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("{% for m in messages %}{{ m.content }}{% generation %}{% endgeneration %}{% endfor %}", "none"),
        ("{% generation %}{% for m in messages %}{{ m.content }}{% endfor %}{% endgeneration %}", "all"),
    ],
)
def test_a_mask_of_nothing_or_everything_is_an_error(text, share):
    task = task_of(talk(BEANS[:2]), template=ChatTemplate("odd", text))
    with pytest.raises(
        UserError, match=f"Task 'talks', record 0: Chat template 'odd': it marks {share} of the conversation"
    ):
        examples(task)
    counts = RecordCounts()
    assert examples(task, counts=counts, on_error="skip") == []
    assert (counts.records, counts.skipped) == (1, 1)


FIRST = len("User: When do I plant beans?\n\nAssistant: In May.$")
BOTH = len("User: When do I plant beans?\n\nAssistant: In May.$\n\nUser: How deep?\n\nAssistant: A thumb.$")


@pytest.mark.parametrize(("room", "kept"), [(BOTH, 2), (BOTH - 1, 1), (FIRST, 1), (FIRST - 1, 0)])
def test_a_long_conversation_is_cut_between_turns(room, kept):
    counts = RecordCounts()
    made = examples(task_of(talk(BEANS)), inputs=2, targets=room - 2, counts=counts)
    assert [shown(example).count("$") for example in made] == [kept] * bool(kept)
    assert (counts.records, counts.truncated["targets"], counts.dropped) == (1, int(kept == 1), int(kept == 0))
    if made:
        assert shown(made[0]) == GOLDEN["plain"][: len(shown(made[0]))]


def test_the_longest_part_that_fits_is_found_whatever_its_length():
    turns = [(role, f"{role[0]}{i}") for i in range(9) for role in ("user", "assistant")]
    whole = shown(examples(task_of(talk(turns)), inputs=1000)[0])
    for room in range(30, 300, 7):
        made = examples(task_of(talk(turns)), inputs=2, targets=room - 2)
        fitting = [
            end
            for end in range(len(whole) + 1)
            if whole[:end].endswith("$]") and len(whole[:end].replace("[", "").replace("]", "")) <= room
        ]
        assert [shown(example) for example in made] == [whole[: max(fitting)]] * bool(fitting)


def test_a_long_conversation_is_dropped_or_an_error_where_the_configuration_says_so():
    task, counts = task_of(talk(BEANS), talk(BEANS[:2])), RecordCounts()
    assert len(examples(task, inputs=2, targets=FIRST, counts=counts, too_long="drop")) == 1
    assert (counts.records, counts.dropped) == (2, 1)
    with pytest.raises(UserError, match=rf"record 0: the conversation has {BOTH} tokens, but .* {FIRST + 2} together"):
        examples(task, inputs=2, targets=FIRST, too_long="fail")


def test_what_cannot_be_read_is_named_by_its_line_or_skipped(tmp_path):
    path = tmp_path / "chats.jsonl"
    lines = [talk(BEANS), {"messages": []}, talk([("assistant", "Hi"), *BEANS])]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    task = ConversationTask("talks", jsonl(train=str(path)))
    with pytest.raises(UserError, match=r"chats.jsonl, line 2: Task 'talks', record 1: a conversation has a list"):
        examples(task)
    counts = RecordCounts()
    assert [example.example_id for example in examples(task, counts=counts, on_error="skip")] == [0]
    assert (counts.records, counts.skipped) == (4, 3)
    assert [f"line {line}" in message for line, message in zip((2, 3, 4), counts.messages, strict=True)] == [True] * 3
    kept = ConversationTask("talks", jsonl(train=str(path)), opening="drop")
    assert [example.example_id for example in examples(kept, on_error="skip")] == [0, 2]


def test_turns_and_their_ends_are_counted():
    endless = ChatTemplate("endless", CHAT_TEMPLATES["chatml"].text.replace("{{ eos_token }}{% end", "{% end"))
    for template, ends in (("plain", 2), ("chatml", 2), (endless, 0)):
        counts = RecordCounts()
        examples(task_of(talk(BEANS), template=template), counts=counts)
        assert (counts.replies, counts.turn_ends) == (2, ends)


def test_a_template_that_never_stops_is_told_of(caplog):
    text = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    with caplog.at_level(logging.WARNING):
        examples(task_of(talk(BEANS)))
        assert not caplog.records
        examples(task_of(talk(BEANS), template=text))
    assert "ends no reply with eos_token" in caplog.text


def test_the_task_is_one_and_checks_itself():
    task = task_of(talk(BEANS))
    assert isinstance(task, Task)
    assert task.splits == ("train", "validation", "test")
    for changes, says in (
        ({"name": "a b"}, "letters, digits and underscores"),
        ({"cluster": ""}, "has no cluster"),
        ({"source": 3}, "source is int"),
        ({"repeated": "join"}, "must be one of merge, keep"),
    ):
        with pytest.raises(UserError, match=says):
            ConversationTask(**{"name": "talks", "source": task.source, **changes})
    with pytest.raises(UserError, match="Task 'talks': Unknown chat template 'chatlm'"):
        examples(task_of(talk(BEANS), template="chatlm"))


def test_the_fingerprint_knows_template_turns_and_source():
    lengths = {"inputs": 8, "targets": 8}

    def parts(task, seed=0):
        return fingerprint_parts(task, "train", PrepareConfig(BYTES, TokenizeConfig(lengths), seed=seed))

    plain = parts(task_of())
    assert parts(task_of(), seed=5) == plain  # nothing is drawn
    for changes, part in (
        ({"template": "chatml"}, "templates"),
        ({"repeated": "keep"}, "turns"),
        ({"opening": "drop"}, "turns"),
    ):
        changed = parts(task_of(**changes))
        assert [name for name in plain if plain[name] != changed[name]] == [part]


def test_from_conversations_to_the_loss_weights_of_a_batch(tmp_path):
    path = tmp_path / "chats.jsonl"
    talks = [[("user", f"number {i}?"), ("assistant", "n" * (i + 1))] for i in range(12)]
    path.write_text("".join(json.dumps(talk(turns)) + "\n" for turns in talks))
    store = TokenStore(tmp_path / "store")
    task = ConversationTask("talks", jsonl(train=str(path)))
    config = PrepareConfig(BYTES, TokenizeConfig({"inputs": 32, "targets": 32}))
    report = prepare([(task, ["train"])], config, store=store)
    assert (report.examples, report.written) == (12, 1)
    assert prepare([(task, ["train"])], config, store=store).skipped == 1
    stored = store.open("talks", "train")
    assert stored.manifest["template"] == "plain"
    batches = PackedBatches(
        [stored],
        [1],
        FeedConfig(batch_size=2),
        seed=0,
        lengths=config.tokenize.lengths,
        decoder_only=True,
        prefetch=0,
    )
    for batch in (next(batches) for _ in range(3)):
        tokens, weights = batch["decoder_target_tokens"], batch["decoder_loss_weights"]
        learned = tokens[weights > 0]
        # A space, letters n, the end: nothing else, and nothing of these is left out.
        assert set(learned.tolist()) == {ord(" ") + 3, ord("n") + 3, BYTES.eos_id}
        assert (weights[tokens == BYTES.eos_id] == 1).all()
        assert len(learned) < (tokens > 0).sum()


def test_two_processes_prepare_what_one_does(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(talk(BEANS)) + "\n")
    tasks = [(ConversationTask(name, jsonl(train=str(tmp_path / f"{name}.jsonl"))), ["train"]) for name in ("a", "b")]
    assert prepare(tasks, PrepareConfig(BYTES), store=TokenStore(tmp_path / "s"), processes=2).examples == 2


def test_declaring_conversations_imports_no_jinja():
    code = (
        "import sys; from flan_jax.data.prepare.conversations import ConversationTask; from flan_jax.data.sources.json_files import jsonl;"
        "ConversationTask('t', jsonl(train='nowhere.jsonl'), template='chatml'); assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def share_gpt(realdata):
    names = {"human": "user", "gpt": "assistant"}
    for one in json.loads((realdata / "chat/fastchat/dummy_conversation.json").read_text()):
        yield {"messages": [{"role": names[t["from"]], "content": t["value"]} for t in one["conversations"]]}


def oasst(realdata):
    """Every path from a tree's root to a leaf, up to its last answer."""
    names = {"prompter": "user", "assistant": "assistant"}

    def paths(message, before):
        turns = [*before, {"role": names[message["role"]], "content": message["text"]}]
        replies = message.get("replies", [])
        for reply in replies:
            yield from paths(reply, turns)
        if not replies and len(turns) > 1:
            yield {"messages": turns}

    for line in (realdata / "chat/oasst/en_100_tree.jsonl").open(encoding="utf-8"):
        yield from paths(json.loads(line)["prompt"], [])


@pytest.mark.realdata
@pytest.mark.parametrize("template", CHAT_TEMPLATES)
@pytest.mark.parametrize(("name", "count"), [("fastchat", 500), ("oasst", 626)])
def test_published_conversations_are_learned_reply_by_reply(realdata, name, count, template):
    records = list((share_gpt if name == "fastchat" else oasst)(realdata))
    assert len(records) == count
    made = examples(task_of(*records, template=template), inputs=100_000)
    assert len(made) == len(records)
    for record, example in zip(records, made, strict=True):
        before = " " if template == "plain" else ""
        wanted = [before + m["content"].strip() + "$" for m in record["messages"] if m["role"] == "assistant"]
        ids = example.targets[example.extras[LOSS_MASK] > 0].tolist()
        learned = bytes(ord("$") if i == BYTES.eos_id else i - 3 for i in ids).decode()
        assert learned == "".join(wanted)
