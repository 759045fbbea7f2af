"""Keys that mean the same in every format: verdicts, what stood before a record, and what is empty."""

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.known_keys import context_of, left_out_by, pair_keys, verdict, weight_of

PAIR = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}]


@pytest.mark.parametrize(
    ("key", "value", "good"),
    [
        ("accepted", "Rejected ", False), ("accepted", -1, False), ("accepted", 1, True), ("accepted", "so so", None),
        ("is_bad", "yes", False), ("is_bad", 0, True), ("is_bad", "so so", None),
        ("status", "declined", False), ("status", "pending", None), ("status", -1, None),
        ("label", True, True), ("label", "chosen", True), ("label", "bad", False), ("label", "positive", None),
        ("color", "rejected", None),
    ],
)  # fmt: skip
def test_a_verdict_is_what_its_key_can_say(key, value, good):
    assert verdict(key, value) is good


@pytest.mark.parametrize("value", [0, -1, 0.0])
def test_a_label_that_may_be_a_class_is_refused(value):
    with pytest.raises(UserError, match="may say that the answer is bad or name a class"):
        verdict("label", value)


def test_what_leaves_a_record_out_is_named_by_its_key():
    for record, why in (
        ({"text": "a", "deleted": True}, "marked as bad (deleted)"),
        ({"train": False}, "not to be trained on (train)"),
        ({"loss_weight": 0}, "not to be trained on (loss_weight)"),
        ({"image": "x.png"}, "has images"),
        ({"image": "", "audio": False, "video": None}, ""),
        ({"deleted": False, "train": True, "weight": 1}, ""),
    ):
        assert left_out_by(record) == why
    with pytest.raises(UserError, match=r"'weight' is 0\.5, but a loss here counts whole or not at all"):
        weight_of("weight", 0.5)


def test_preference_data_is_known_by_its_keys():
    ranked = [{"text": "a", "rank": 1}, {"text": "b", "rank": 2}]
    for record, keys in (
        ({"prompt": "p", "rejected": "b", "chosen": "a"}, ("rejected", "chosen")),
        ({"chosen": "yes"}, ()),  # a verdict, not an answer
        ({"response_a": "x", "response_b": "y"}, ("response_a", "response_b")),
        ({"response_a": "x", "response_b": ""}, ()),
        ({"answers": ranked}, ("answers",)),
        ({"answers": ranked[:1]}, ()),
        ({"answers": [{"text": "a"}, ranked[0]]}, ()),
    ):
        assert pair_keys(record) == keys


@pytest.mark.parametrize(
    "history",
    [
        [["a?", "b."]], ["a?", "b."], PAIR, '[["a?", "b."]]', [{"human": "a?", "bot": "b."}],
        [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b."}],
    ],
)  # fmt: skip
def test_a_history_is_read_in_every_form_that_is_published(history):
    assert context_of({"history": history, "system": "Be kind."}) == ("Be kind.", PAIR)


def test_what_stood_before_a_record_is_said_once():
    assert context_of({"system": " ", "history": " ", "chat_history": None}) == ("", [])
    assert context_of({"system": "a", "system_prompt": "a"}) == ("a", [])
    for record, said in (
        ({"system": "a", "sys_prompt": "b"}, "'system' and 'sys_prompt' are two system prompts that differ"),
        ({"system": ["a"]}, "'system' must be a text, not list"),
        (
            {"history": [["a", "b"]], "chat_history": [["a", "b"]]},
            "'history' and 'chat_history' both say what came before",
        ),
        ({"history": ["a?", "b.", "c?"]}, "'history' must be a list of .question, answer. pairs"),
        ({"history": [["a?", " "]]}, "'history' must be a list of"),
        ({"history": "a?"}, "'history' must be a list of"),
        ({"history": [["a?", "b."], "c"]}, "'history' must be a list of"),
    ):
        with pytest.raises(UserError, match=said):
            context_of(record)
