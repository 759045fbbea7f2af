"""Dialogs: which reply is asked for, and what is shown before it."""

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.catalog import TASKS
from mixtures.dialog import FURTHEST_REPLY, one_reply

TURNS = [f"{'answer' if n % 2 else 'question'} {n // 2}" for n in range(60)]


def test_a_reply_is_drawn_with_everything_said_before_it():
    drawn = set()
    for length in range(2, 60):
        given = one_reply(TURNS[:length])
        assert given == one_reply(TURNS[:length])
        place = TURNS.index(given["answer"])
        assert given["answer"].startswith("answer")
        assert place < min(length, 2 * FURTHEST_REPLY)
        lines = given["dialog"].split("\n")
        assert [line.partition(": ")[2] for line in lines] == TURNS[:place]
        speakers = [line.partition(": ")[0] for line in lines]
        assert len({*speakers[::2]}) == 1
        assert {*speakers[::2]}.isdisjoint(speakers[1::2])
        drawn.add(place)
    assert len(drawn) > 10


def test_a_conversation_without_a_reply_is_left_out():
    assert one_reply([]) is None
    assert one_reply(["Anyone there?"]) is None
    assert one_reply(["Anyone there?", " "]) is None


def test_wiki_dialog_leaves_out_the_assistants_introduction():
    spec = TASKS.get("wiki_dialog")
    slots = spec.fields({"utterances": ["Hello, I am an automated assistant", "Where is Tarn?", "In the north."]})
    assert slots["answer"] == "In the north."
    assert "automated" not in slots["dialog"]


def test_qrecc_keeps_the_rows_behind_the_sixth_turn():
    fields = TASKS.get("qrecc").fields
    assert fields({"Context": TURNS[:12], "Turn_no": 6}) is None
    hub, tfds = fields({"Context": TURNS[:12], "Turn_no": 7}), fields({"context": TURNS[:12], "turn_id": 7})
    assert hub == tfds == one_reply(TURNS[:12])
    with pytest.raises(UserError, match="'context' must be a list of texts"):
        fields({"context": "one text", "turn_id": 7})
