"""What a message says beside its words: calls of tools, tools, media, and whether it is learned."""

import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import conversation
from flan_jax.tasks.chat.turns import call_in, calls_of, is_trained, media_in, tools_of

ADD = {"name": "add", "arguments": {"a": 1}}


@pytest.mark.parametrize(
    ("content", "calls"),
    [
        (ADD, [ADD]),
        ([ADD, ADD], [ADD, ADD]),
        ([], None),
        ({}, None),
        ([ADD, {"arguments": {}}], None),  # a list is one of calls or it is not
        ([{"name": 3}], None),
        (["add"], None),
        (7, None),
    ],
)
def test_a_text_is_a_call_where_all_of_it_names_functions(content, calls):
    assert call_in(json.dumps(content)) == calls


def test_a_call_keeps_its_number_where_a_function_stands_beside_it():
    function = {"type": "function", "function": ADD}
    for given, made in (
        ({"id": "c7", "function": {"name": "add", "arguments": '{"a": 1}'}}, {"id": "c7", **function}),
        ({"id": "", "function": ADD}, function),
        ({"id": "c7", **ADD}, function),
    ):
        assert json.loads(calls_of({"tool_calls": [given]})) == [made]
    assert json.loads(calls_of({"function_call": ADD})) == [function]
    assert calls_of({"tool_calls": [], "function_call": None}) == ""


def test_tools_are_a_list_whether_one_or_several_or_of_the_older_form():
    tool = {"type": "function", "function": {"name": "add"}}
    for record in (
        {"tools": tool}, {"tools": [tool]}, {"tools": json.dumps(tool)}, {"tools": [json.dumps(tool)]},
        {"functions": {"name": "add"}}, {"functions": [tool]}, {"tools": "[]", "functions": {"name": "add"}},
    ):  # fmt: skip
        assert json.loads(tools_of(record)) == [tool]
    assert tools_of({"tools": "null", "functions": []}) == ""


def test_the_type_of_a_part_says_what_it_is_and_without_one_its_key():
    for part, what in (
        ({"type": "image_url", "image_url": "x"}, "images"),
        ({"image": "x.png"}, "images"),
        ({"video": "x.mp4"}, "videos"),
        ({"type": "text", "text": "a", "image": "x.png"}, ""),
        ({"image": None, "text": "a"}, ""),
        ("image", ""),
    ):
        assert media_in({"content": [part]}) == what


def test_a_reply_is_learned_unless_something_says_that_it_is_bad_or_hidden():
    for message, learned in (
        ({"content": "rejected"}, True),
        ({"status": "rejected"}, False),
        ({"status": "fine"}, True),
        ({"accepted": False}, False),
        ({"label": False}, False),
        ({"masked": True}, False),
        ({"masked": False}, True),
        ({"train": "no"}, False),
        ({"weight": 0}, False),
        ({"weight": 1, "train": True}, True),
        ({"train": False, "weight": 1}, False),  # one "no" is enough
    ):
        assert is_trained(message, reply=True) == learned, message
    assert is_trained({"status": "rejected", "weight": 1}, reply=False)
    with pytest.raises(UserError, match="'train' asks to learn it, but only what the assistant says is learned"):
        is_trained({"train": True}, reply=False)


def test_a_message_of_preference_data_is_refused_with_its_place():
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes", "chosen": "a", "rejected": "b"}]
    with pytest.raises(UserError, match="message 1: this is preference data"):
        conversation({"messages": said})
