"""Keys that change what a record means are honoured or refused in every format, and all others are counted."""

import json

import pytest

from flan_jax.data.chat.replies import dialog_task
from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.data.formats.detect import detect_format, get_format
from flan_jax.data.formats.record_meanings import read_record
from flan_jax.data.instructions.report import data_report
from flan_jax.data.instructions.source import instruction_source
from flan_jax.data.instructions.task import instruction_task, tasks_in
from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.conversations import ConversationTask
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.token_display import decode_turns
from flan_jax.errors import UserError
from flan_jax.store.store import LOSS_MASK, TokenStore
from flan_jax.tasks.chat.conversation import conversation
from flan_jax.tasks.render import render
from flan_jax.tasks.spec import Prompted

ASK, REPLY = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}
CHAT = {"messages": [ASK, REPLY]}
TOOL = {"type": "function", "function": {"name": "heat", "parameters": {}}}
CALL = {"id": "c", "type": "function", "function": {"name": "heat", "arguments": '{"at": "Elmhof"}'}}
SHAPES = {
    "messages": CHAT,
    "sharegpt": {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Ho."}]},
    "lima": {"conversations": ["Hi?", "Ho."]},
    "alpaca": {"instruction": "Hi?", "input": "", "output": "Ho."},
    "dolly": {"instruction": "Hi?", "context": "", "response": "Ho."},
    "prompt_completion": {"prompt": "Hi?", "completion": "Ho."},
    "flan_dump": {"inputs": "Hi?", "targets": "Ho."},
}
# Writes whatever a conversation holds, each reply between marks.
WRITES_ALL = (
    "{% if tools %}TOOLS {{ tools | tojson }}\n{% endif %}{% for m in messages %}{{ m.role }}: "
    "{% if m.role == 'assistant' %}{% generation %}{% if m.thinking %}({{ m.thinking }}){% endif %}{{ m.content }}"
    "{% if m.tool_calls %}CALL {{ m.tool_calls | tojson }}{% endif %}{{ '\\n' }}{% endgeneration %}"
    "{% else %}{{ m.content }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
FORGETS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"


def read(name, **more):
    left = []
    return list(read_record(get_format(name), {**SHAPES[name], **more}, left.append)), left


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"label": False}, "marked as bad (label)"),
        ({"label": "rejected"}, "marked as bad (label)"),
        ({"kto_tag": "false"}, "marked as bad (kto_tag)"),
        ({"is_good": 0}, "marked as bad (is_good)"),
        ({"accepted": "no"}, "marked as bad (accepted)"),
        ({"rejected": True}, "marked as bad (rejected)"),
        ({"feedback": "thumbs_down"}, "marked as bad (feedback)"),
        ({"weight": 0.0}, "not to be trained on (weight)"),
        ({"train": False}, "not to be trained on (train)"),
        ({"images": ["a.png"]}, "has images"),
        ({"image": {"bytes": "…"}}, "has images"),
        ({"audio": "a.wav"}, "has sound"),
    ],
)
def test_what_a_record_says_against_itself_leaves_it_out_of_every_format(name, more, reason):
    assert read(name, **more) == ([], [reason])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "more",
    [
        {"label": True},
        {"label": "negative"},
        {"label": 3},
        {"is_good": 1},
        {"rejected": False},
        {"rejected": None},
        {"chosen": ""},
        {"weight": 1},
        {"images": []},
        {"quality": "fine"},
    ],
)
def test_what_says_nothing_against_a_record_leaves_it_as_it_is(name, more):
    assert read(name, **more) == read(name)
    assert read(name)[0]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"chosen": "a", "rejected": "b"}, "preference data (it has 'chosen' and 'rejected')"),
        ({"negative_response": "b"}, "preference data (it has 'negative_response')"),
        ({"rejected_output": "b"}, "preference data (it has 'rejected_output')"),
        ({"rejected": [ASK, REPLY]}, "preference data (it has 'rejected')"),
        ({"response_a": "a", "response_b": "b"}, "preference data (it has 'response_a' and 'response_b')"),
        ({"answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]}, "preference data (it has 'answers')"),
        ({"weight": 0.5}, "'weight' is 0.5, but a loss here counts whole or not at all"),
        ({"label": 0}, "'label' is 0, which may say that the answer is bad or name a class"),
        ({"system": "a", "system_prompt": "b"}, "two system prompts that differ"),
        ({"system": 3}, "'system' must be a text"),
        ({"history": "they spoke"}, "'history' must be a list of [question, answer] pairs"),
        ({"history": [["q"]]}, "'history' must be a list of [question, answer] pairs"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_every_format(name, more, says):
    with pytest.raises(UserError) as raised:
        read(name, **more)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "history",
    [
        [["Q1", "A1"], ["Q2", "A2"]],
        '[["Q1", "A1"], ["Q2", "A2"]]',
        ["Q1", "A1", "Q2", "A2"],
        [{"user": "Q1", "assistant": "A1"}, {"prompt": "Q2", "response": "A2"}],
        [
            {"role": role, "content": said}
            for role, said in zip(["user", "assistant"] * 2, ["Q1", "A1", "Q2", "A2"], strict=True)
        ],
    ],
)
def test_system_and_history_stand_before_the_words_of_every_format(history, tmp_path):
    turns = ["Rhyme.", "Q1", "A1", "Q2", "A2", "Hi?", "Ho."]
    for name in SHAPES:
        ((made,), left) = read(name, system="Rhyme.", history=history)
        assert not left
        if "messages" in made:
            assert [message["content"] for message in made["messages"]] == turns
            continue
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps(SHAPES[name]))
        task = Prompted(instruction_task("t", path))
        for template in range(len(task.templates)):
            shown = render(task, made, index=0, template_id=template).inputs
            assert (
                shown.index("Rhyme.")
                < shown.index("User: Q1\nAssistant: A1\nUser: Q2\nAssistant: A2")
                < shown.index("Hi?")
            )


def test_a_system_prompt_beside_a_conversation_that_has_one():
    own = {"role": "system", "content": "Rhyme. "}
    ((made,), _) = read("messages", messages=[own, ASK, REPLY], system="Rhyme.")
    assert made["messages"] == [own, ASK, REPLY]
    with pytest.raises(UserError, match="two system prompts that differ"):
        read("messages", messages=[own, ASK, REPLY], system="Sing.")


@pytest.mark.parametrize(
    "more",
    [
        {"weight": 0},
        {"weight": 0.0},
        {"train": False},
        {"trainable": "false"},
        {"masked": True},
        {"loss": False},
        {"label": False},
    ],
)
def test_a_message_that_is_not_to_be_learned_is_context_only(more):
    again = [{"role": "user", "content": "Again?"}, {"role": "assistant", "content": "Yes."}]
    record = {"messages": [ASK, {**REPLY, **more}, *again]}
    ((made,), _) = read("messages", **record)
    for given in (made, record):  # as it is read, and as a source of one's own gives it
        talk = conversation(given)
        assert [message.content for message in talk.messages] == ["Hi?", "Ho.", "Again?", "Yes."]
        assert talk.replies == (3,)
    assert read("messages", messages=[ASK, {**REPLY, **more}]) == ([], ["no reply to be learned"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"weight": 0.3}, "message 1: 'weight' is 0.3"),
        ({"train": "maybe"}, "message 1: 'train' is 'maybe', which is neither yes nor no"),
        ({"train_detail": [{"begin_offset": 0}]}, "message 1: 'train_detail' learns parts of a message"),
        ({"thinking": "a", "reasoning": "b"}, "two thoughts that differ"),
        ({"tool_calls": "not JSON"}, "'tool_calls' is no JSON"),
    ],
)
def test_what_a_message_says_and_cannot_be_honoured_is_refused(more, says):
    with pytest.raises(UserError) as raised:
        conversation(read("messages", messages=[ASK, {**REPLY, **more}])[0][0])
    assert says in str(raised.value)


def test_only_replies_can_be_learned():
    with pytest.raises(UserError, match="only what the assistant says is learned"):
        conversation({"messages": [{**ASK, "train": True}, REPLY]})
    assert conversation({"messages": [{**ASK, "weight": 1}, REPLY]}).replies == (1,)


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "input_audio", "input_audio": {}}]
)
def test_a_content_in_parts_that_are_no_text_leaves_the_record_out(part):
    records, left = read(
        "messages", messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}, REPLY]
    )
    assert (records, left) == ([], ["has images" if "image" in part["type"] else "has sound"])


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi?", "chosen": "Ho.", "rejected": "No."},
        {"chosen": "\n\nHuman: Hi?\n\nAssistant: Ho.", "rejected": "\n\nHuman: Hi?\n\nAssistant: No."},
        {"input": {"messages": [ASK]}, "preferred_output": [REPLY], "non_preferred_output": [REPLY]},
        {"prompt": "Hi?", "response_0": "a", "response_1": "b", "better_response_id": 1},
        {
            "instruction": "Hi?",
            "completions": [{"response": "a", "overall_score": 3}, {"response": "b", "overall_score": 1}],
        },
    ],
)
def test_preference_data_is_named_where_no_format_fits(record):
    with pytest.raises(UserError, match="this is preference data"):
        detect_format([record])


def test_two_answers_in_one_record_are_a_question():
    with pytest.raises(UserError, match="'output' and 'response' differ, and only one of them can be learned"):
        read("alpaca", response="Other.")
    assert read("alpaca", response="Ho.") == read("alpaca")
    with pytest.raises(UserError, match="'messages' and 'conversations' differ"):
        read("messages", conversations=[{"from": "human", "value": "Other?"}])
    assert read("messages", conversations=SHAPES["sharegpt"]["conversations"]) == read("messages")


def written(tmp_path, template, *records):
    """What a decoder is trained on, as (text, what of it is learned)."""
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    store = TokenStore(tmp_path / "store")
    task = ConversationTask("chats", instruction_source(path, max_validation=0), template=template)
    lengths = {"inputs": 800, "targets": 800}
    (split,) = prepare(
        [(task, ("train",))], PrepareConfig(ByteVocabulary(), TokenizeConfig(lengths)), store=store
    ).splits
    stored = store.open("chats", "train", split.fingerprint)

    def decode(ids):
        return decode_turns(ByteVocabulary(), ids, "⏎")

    rows = [(stored.targets(i), stored.extras(i)[LOSS_MASK] > 0) for i in range(len(stored))]
    return [(decode(ids), decode(ids[mask])) for ids, mask in rows], split


def test_a_chat_template_gets_tools_calls_thoughts_and_what_is_not_learned(tmp_path):
    tools = {
        "messages": [
            ASK,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "17"},
            {**REPLY, "reasoning_content": "It is warm."},
        ],
        "tools": [TOOL],
    }
    weighed = {"messages": [ASK, {"role": "assistant", "content": "WRONG", "weight": 0}, ASK, REPLY]}
    (first, second), _ = written(tmp_path, WRITES_ALL, tools, weighed)
    assert first[0].startswith(f"TOOLS {json.dumps([TOOL])}\nuser: Hi?\nassistant: CALL ")
    assert '"arguments": {"at": "Elmhof"}' in first[1]
    assert first[0].endswith("tool: 17\nassistant: (It is warm.)Ho.\n")
    assert first[1].endswith("}]\n(It is warm.)Ho.\n")
    assert second == ("user: Hi?\nassistant: WRONG\nuser: Hi?\nassistant: Ho.\n", "Ho.\n")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({**CHAT, "tools": [TOOL]}, "it writes nothing of the conversation's tools"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}]}, "it writes nothing of the calls of tools"),
        ({"messages": [ASK, {**REPLY, "thinking": "Well."}]}, "it does not write the thoughts before reply 1"),
    ],
)
@pytest.mark.parametrize("template", [FORGETS, "plain", "chatml"])
def test_a_template_that_cannot_say_it_is_refused(tmp_path, record, says, template):
    with pytest.raises(UserError) as raised:
        written(tmp_path, template, record)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({**CHAT, "functions": [{"name": "heat"}]}, "it has tools, which only a chat template can write"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}, ASK, REPLY]}, "it has calls of tools, which"),
        ({"messages": [ASK, {**REPLY, "reasoning": "Well."}]}, "it has thoughts before reply 1, which"),
    ],
)
def test_prompts_in_words_refuse_what_only_a_chat_template_writes(tmp_path, record, says):
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(UserError) as raised:
        list(dialog_task("t", instruction_source(path)).source.records("train"))
    assert says in str(raised.value)


def test_every_other_key_is_counted(tmp_path):
    path = tmp_path / "data.jsonl"
    records = [
        {"messages": [{**ASK, "name": "ann", "ts": 1}, {**REPLY, "ts": 2}], "lang": "en", "id": 1, "score": 4},
        {"messages": [ASK, REPLY], "lang": None, "score": 3, "system": "Rhyme.", "extra": {"a": 1}, "label": "joy"},
        {"messages": [ASK, {**REPLY, "weight": 0}], "label": False},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    (file,) = data_report(path).files
    assert file.not_read == {
        "score": 2, "lang": 1, "extra": 1, "label": 1, "messages[].name": 1, "messages[].ts": 1
    }  # fmt: skip
    assert file.filtered["marked as bad (label)"] == 1


def test_a_file_of_which_nothing_is_left_ends_with_the_reasons(tmp_path):
    path = tmp_path / "kto.jsonl"
    path.write_text(
        '{"prompt": "a", "completion": "b", "label": false}\n{"prompt": "c", "completion": "d", "train": false}\n'
    )
    with pytest.raises(UserError) as raised:
        prepare(
            [(Prompted(spec), ("train",)) for spec in tasks_in(path)],
            PrepareConfig(ByteVocabulary()),
            store=TokenStore(tmp_path / "store"),
        )
    assert "every record is left out, by reason: marked as bad (label) (1), not to be trained on (train) (1)" in str(
        raised.value
    )


# As Qwen 3's: the thoughts of earlier turns are not written once a user speaks again.
FORGETS_THOUGHTS = (
    "{% set last = namespace(user=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set last.user = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}[{{ m.role }}]"
    "{% if m.role == 'assistant' and loop.index0 > last.user %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
TWO_TURNS = {
    "messages": [
        {"role": "user", "content": "How tall is it?"},
        {"role": "assistant", "content": "Nine feet.", "reasoning_content": "I look it up."},
        {"role": "user", "content": "And wide?"},
        {"role": "assistant", "content": "Two feet."},
    ]
}


def test_a_template_whose_beginning_changes_is_learned_reply_by_reply(tmp_path):
    template = ChatTemplate("forgets", FORGETS_THOUGHTS, (("eos_token", "</s>"),))
    one_turn = {"messages": TWO_TURNS["messages"][:2]}
    rows, split = written(tmp_path, template, TWO_TURNS, one_turn)
    first = "[user]How tall is it?⏎[assistant]"
    assert rows == [
        (f"{first}<think>I look it up.</think>Nine feet.⏎", "<think>I look it up.</think>Nine feet.⏎"),
        (f"{first}Nine feet.⏎[user]And wide?⏎[assistant]<think></think>Two feet.⏎", "<think></think>Two feet.⏎"),
        (f"{first}<think>I look it up.</think>Nine feet.⏎", "<think>I look it up.</think>Nine feet.⏎"),
    ]
    assert (split.examples, split.by_reply, split.unreadable) == (3, 1, 0)


def test_a_reply_that_is_not_to_be_learned_makes_no_example_of_its_own(tmp_path):
    template = ChatTemplate("forgets", FORGETS_THOUGHTS, (("eos_token", "</s>"),))
    asked, answered, again, last = TWO_TURNS["messages"]
    record = {"messages": [asked, {**answered, "weight": 0}, again, last, asked, answered]}
    rows, split = written(tmp_path, template, record)
    assert [learned for _, learned in rows] == ["<think></think>Two feet.⏎", "<think>I look it up.</think>Nine feet.⏎"]
    assert split.by_reply == 1
