import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import ROLES, Conversation, Message, conversation

SHORT = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def record(roles, **more):
    return {"messages": [{"role": SHORT[r], "content": f"{r}{i}"} for i, r in enumerate(roles)], **more}


def shown(made):
    return [(message.role[0], message.content) for message in made.messages]


def test_a_conversation_keeps_roles_order_and_white_space():
    made = conversation({"messages": [{"role": "user", "content": " hi\n"}, {"role": "assistant", "content": "yes "}]})
    assert made == Conversation((Message("user", " hi\n"), Message("assistant", "yes ")))
    assert made.as_dicts() == [{"role": "user", "content": " hi\n"}, {"role": "assistant", "content": "yes "}]
    assert made.replies == (1,)


@pytest.mark.parametrize(
    ("roles", "repeated", "kept"),
    [
        ("suua", "merge", [("s", "s0"), ("u", "u1\n\nu2"), ("a", "a3")]),
        ("uaaa", "merge", [("u", "u0"), ("a", "a1\n\na2\n\na3")]),
        ("uaau", "keep", [("u", "u0"), ("a", "a1"), ("a", "a2"), ("u", "u3")]),
        ("utta", "merge", [("u", "u0"), ("t", "t1"), ("t", "t2"), ("a", "a3")]),
    ],
)
def test_two_messages_of_one_speaker_are_merged_or_kept(roles, repeated, kept):
    assert shown(conversation(record(roles), repeated=repeated)) == kept


def test_what_comes_before_any_user_is_an_error_or_left_out_or_kept():
    early = record("sauaa")
    with pytest.raises(UserError, match=r"speaks before any user does.*--opening drop.*--opening keep"):
        conversation(early)
    assert shown(conversation(early, opening="drop")) == [("s", "s0"), ("u", "u2"), ("a", "a3\n\na4")]
    assert shown(conversation(early, opening="keep"))[:2] == [("s", "s0"), ("a", "a1")]
    with pytest.raises(UserError, match="none of its 1 messages is the assistant's"):
        conversation(record("au"), opening="drop")


def test_what_follows_the_last_reply_is_not_answered():
    assert shown(conversation(record("uauu")).answered) == [("u", "u0"), ("a", "a1")]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        (None, "a list 'messages' that is not empty.*its fields: id, messages"),
        ([], "is not empty"),
        ("hello", "is not empty"),
        (["hello"], "message 0 must be an object with a role and a content, not 'hello'"),
        ([{"content": "x"}], "message 0 must be an object with a role"),
        ([{"role": "asistant", "content": "x"}], "message 0: Unknown role 'asistant'. Did you mean 'assistant'"),
        ([{"role": "human", "content": "x"}], "message 0: Unknown role 'human'. Known: assistant, system, tool, user"),
        ([{"role": 3, "content": "x"}], "message 0: its role must be a text, not int"),
        (
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": " \n"}],
            "message 1: its content is empty",
        ),
        ([{"role": "user", "content": None}], "message 0: its content must be a text, not NoneType"),
        ([{"role": "user", "content": [{"type": "text"}]}], "its content must be a text, not list"),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{}]}],
            "message 0: a call of a tool must name a function",
        ),
        ([{"role": "user", "content": "x"}], "none of its 1 messages is the assistant's"),
    ],
)
def test_what_is_no_conversation_is_named(messages, says):
    with pytest.raises(UserError, match=says):
        conversation({"id": 1, "messages": messages})


def test_a_policy_must_be_one():
    with pytest.raises(UserError, match="repeated='join' must be one of merge, keep"):
        conversation(record("ua"), repeated="join")
    with pytest.raises(UserError, match=r"opening='drops' must be one of fail, drop, keep. Did you mean 'drop'"):
        conversation(record("ua"), opening="drops")


@given(st.lists(st.sampled_from(ROLES), min_size=1, max_size=12))
def test_merging_loses_no_word_and_leaves_no_neighbours_alike(roles):
    given_messages = [{"role": role, "content": f"{role}{i}"} for i, role in enumerate(roles)]
    if "assistant" not in roles:
        with pytest.raises(UserError, match="nothing to learn"):
            conversation({"messages": given_messages})
        return
    made = conversation({"messages": given_messages}, opening="keep")
    assert "\n\n".join(m.content for m in made.messages).split("\n\n") == [m["content"] for m in given_messages]
    pairs = list(zip(made.messages, made.messages[1:], strict=False))
    assert not any(a.role == b.role for a, b in pairs if a.role in ("user", "assistant"))
