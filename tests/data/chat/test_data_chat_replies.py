"""Replies of conversations as examples: what comes before them, slots, templates and the golden renders."""

import json
import os
from pathlib import Path

import pytest

from flan_jax.data.chat.replies import TEMPLATES, DialogFields, ReplySource, dialog_task
from flan_jax.data.prepare.config import DEFAULT_LENGTHS, PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources.generated import generated
from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.chat.conversation import Message
from flan_jax.tasks.render import render, render_split
from flan_jax.tasks.spec import Prompted, Source
from flan_jax.tasks.template_lint import review
from flan_jax.testing.records import good_records

GARDEN = [
    ("system", "Answer in one short sentence."),
    ("user", "When should I plant beans?"),
    ("assistant", "After the last frost."),
    ("user", "And how deep?"),
    ("assistant", "About as deep as your thumb is long."),
]
WEATHER = [
    ("user", "Will it rain in Oslo?"),
    ("tool", "Oslo: rain, 9 degrees"),
    ("assistant", "Yes, take a coat."),
]


def talk(turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def written(tmp_path, *lines):
    path = tmp_path / "chats.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return jsonl(train=str(path))


def slots(turns, reply=-1, **fields):
    messages = tuple(Message(*turn) for turn in turns)
    return DialogFields(**fields)({"before": messages[:reply], "reply": messages[reply].content})


def test_every_assistant_turn_is_an_example_with_what_was_said_before(tmp_path):
    source = ReplySource(written(tmp_path, talk(GARDEN), talk(WEATHER)))
    assert isinstance(source, Source)
    records = list(source.records("train"))
    assert [record["reply"] for record in records] == [GARDEN[2][1], GARDEN[4][1], WEATHER[2][1]]
    assert [[m.content for m in record["before"]] for record in records] == [
        [content for _, content in turns] for turns in (GARDEN[:2], GARDEN[:4], WEATHER[:2])
    ]
    assert source.splits == ("train",)
    assert source.size_hint("train") == source.source.size_hint("train")


def test_an_opening_that_is_kept_is_history_and_no_example(tmp_path):
    early = talk([("assistant", "Welcome!"), *WEATHER])
    kept = list(ReplySource(written(tmp_path, early), opening="keep").records("train"))
    assert [record["reply"] for record in kept] == ["Yes, take a coat."]
    assert kept[0]["before"][0].content == "Welcome!"


def test_slots_mark_turns_by_words_that_stay():
    first, second, third = slots(GARDEN[:3]), slots(GARDEN), slots(WEATHER)
    assert first["history"] == first["earlier"] == ""
    assert first["last"] == "When should I plant beans?"
    assert first["preface"] == "Instructions to the assistant: Answer in one short sentence.\n\n"
    assert second["history"] == "User: When should I plant beans?\nAssistant: After the last frost."
    assert second["earlier"] == f"Earlier in the conversation: {second['history']}\n\n"
    assert second["dialogue"] == f"{second['history']}\nUser: And how deep?"
    assert second["dialogue_people"].splitlines()[1] == "Person B: After the last frost."
    assert second["reply"] == GARDEN[4][1]
    assert third["preface"] == third["system"] == ""
    assert third["last"] == "Will it rain in Oslo?\nTool: Oslo: rain, 9 degrees"


@pytest.mark.parametrize(("limit", "kept"), [(89, 2), (88, 1), (63, 1), (62, 0), (1, 0)])
def test_the_oldest_turns_are_left_out_whole(limit, kept):
    assert [len(content) for _, content in GARDEN[:4]] == [29, 26, 21, 13]  # 89 together, 63 without the first question
    made = slots(GARDEN, max_characters=limit)
    history = ["User: When should I plant beans?", "Assistant: After the last frost."]
    assert made["history"] == "\n".join(history[2 - kept :])
    assert made["system"] == GARDEN[0][1]
    assert made["last"] == "And how deep?"


def test_a_limit_is_at_least_one_character():
    with pytest.raises(UserError, match="max_characters=0 must be at least 1"):
        dialog_task("d", generated("g", lambda split: [], 1), max_characters=0)


def test_the_task_is_a_free_text_one_with_ten_templates():
    spec = dialog_task("talks", generated("talks", lambda split: [talk(GARDEN)], 1), "chat")
    assert (spec.cluster, spec.metric, spec.predict, len(spec.templates)) == ("chat", "rougeL", "generate", 10)
    assert len(set(spec.templates)) == len(TEMPLATES) == 10
    assert list(review(spec)) == []


def test_renders_golden():
    """Both kinds of history through every template, as T5's SentencePiece leaves them: read them."""
    spec = dialog_task("talks", generated("talks", lambda split: [talk(GARDEN), talk(WEATHER)], 1))
    golden = Path(__file__).parents[2] / "golden/dialog_renders.json"
    found = [
        {"inputs": one.inputs, "targets": one.targets}
        for index, record in enumerate(spec.source.records("train"))
        for template in range(10)
        if (one := render(Prompted(spec), record, index=index, template_id=template))
    ]
    assert len(found) == 30
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(golden.read_text())
    for one in found:
        assert not set("{}~^\\<|`\t") & set(one["inputs"])
        assert "  " not in one["inputs"].replace("\n", " ").replace("  ", " ", one["inputs"].count("\n\n"))


def test_what_cannot_be_read_is_named_by_file_line_and_turn(tmp_path):
    bad = {"messages": [{"role": "user", "content": "x"}, {"role": "asistant", "content": "y"}]}
    source = ReplySource(written(tmp_path, talk(GARDEN), "no json", bad, "", talk(WEATHER)))
    errors = []
    records = list(good_records(source, "train", errors))
    assert len(records) == 3
    assert [str(error).split("chats.jsonl, ")[1][:40] for error in errors] == [
        "line 2: not valid JSON (Expecting value,",
        "line 3: message 1: Unknown role 'asistan",
    ]
    with pytest.raises(UserError, match="line 2: not valid JSON"):
        list(source.records("train"))
    # Numbered as they are rendered: two replies, two that cannot be read, one reply.
    places = [source.place("train", index).split("chats.jsonl, ")[-1] for index in (0, 1, 3, 4)]
    assert places == ["line 1, reply 2", "line 1, reply 4", "line 3", "line 5, reply 2"]


def test_a_reply_that_cannot_be_rendered_is_named_by_its_place(tmp_path):
    spec = dialog_task("talks", written(tmp_path, talk(WEATHER), talk(GARDEN)))
    broken = Prompted(spec)
    object.__setattr__(
        spec, "fields", lambda record: {"nothing": ""} if "deep" in record["reply"] else DialogFields()(record)
    )
    with pytest.raises(UserError, match=r"chats.jsonl, line 2, reply 4: Task 'talks', record 2: its fields gave no"):
        list(render_split(broken, "train"))


def test_it_is_prepared_as_any_task_and_again_when_its_reading_changes(tmp_path):
    source = written(tmp_path, talk(GARDEN), {"messages": []}, talk([WEATHER[0], ("user", "Say!"), *WEATHER[1:]]))
    store = TokenStore(tmp_path / "store")
    config = PrepareConfig(ByteVocabulary(), TokenizeConfig(DEFAULT_LENGTHS, on_error="skip"))
    report = prepare([(Prompted(dialog_task("talks", source)), ["train"])], config, store=store)
    assert (report.examples, report.unreadable, report.written) == (3, 1, 1)
    kept = prepare([(Prompted(dialog_task("talks", source, repeated="keep")), ["train"])], config, store=store)
    assert (kept.examples, kept.written) == (3, 1)
    again = prepare([(Prompted(dialog_task("talks", source)), ["train"])], config, store=store)
    assert again.skipped == 1
    shorter = prepare([(Prompted(dialog_task("talks", source, max_characters=50)), ["train"])], config, store=store)
    assert shorter.written == 1


@pytest.mark.realdata
def test_every_reply_of_a_published_chat_is_an_example(realdata):
    """FastChat has 500 conversations with 1,000 replies."""
    names = {"human": "user", "gpt": "assistant"}
    records = [
        talk([(names[turn["from"]], turn["value"]) for turn in one["conversations"]])
        for one in json.loads((realdata / "chat/fastchat/dummy_conversation.json").read_text())
    ]
    spec = dialog_task("fastchat", generated("fastchat", lambda split: records, 1), max_characters=300)
    made = list(render_split(Prompted(spec), "train"))
    replies = [m["content"].strip() for record in records for m in record["messages"] if m["role"] == "assistant"]
    assert len(made) == len(replies) == 1000
    for one, reply in zip(made, replies, strict=True):
        assert reply == one.targets or (spec.templates[one.template_id].inverted and reply in one.inputs)
        assert len(one.inputs) < 300 + len(reply) + 250
    assert {one.template_id for one in made} == set(range(10))
