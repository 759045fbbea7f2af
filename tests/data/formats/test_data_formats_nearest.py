"""What is said of records of no known format: the nearest one, and what they lack of it."""

import pytest

from flan_jax.data.formats import detect_format
from flan_jax.errors import UserError


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"instruction": "a", "answer": "b"}, r"The nearest is evol_instruct .*: this one lacks 'output'"),
        (
            {"Instruction": "a", "Input": "", "Output": "b"},
            r"nearest is alpaca .*lacks 'instruction', but has 'Instruction'",
        ),
        ({"inputs": "a", "target": "b"}, r"nearest is flan_dump .*lacks 'targets', but has 'target'"),
        ({"prompt": "a", "answer": "b"}, r"nearest is prompt_completion .*lacks 'completion'"),
        ({"question": "a", "answer": "b"}, r"nearest is flan_cot .*lacks 'rationale'"),
        ({"instruction": "a", "context": "b", "reply": "c"}, r"nearest is dolly .*lacks 'response'"),
        ({"message_id": "a", "parent": "b", "text": "c", "role": "user"}, r"nearest is oasst_flat .*lacks 'parent_id'"),
        ({"messages": "a"}, r"nearest is messages .*has its keys with other kinds of values \(messages: str\)"),
        (
            {"conversations": [{"who": "a", "value": "b"}]},
            r"nearest is sharegpt .*the objects in 'conversations' have who, value",
        ),
        ({"instruction": "a", "input": "b", "output": 5}, r"nearest is alpaca .*output: int"),
        ({"instruction": "a", "input": "b", "output": ["c", "d"]}, r"nearest is alpaca .*output: list"),
        (
            {"instruction": "a", "output": "b", "context": "c"},
            r"nearest is evol_instruct .*has 'context' beside its keys",
        ),
        ({"input": "a", "output": "b"}, r"nearest is alpaca .*lacks 'instruction'"),
        ({"premise": "a", "label": 1}, r"no known format has records with the keys premise, label\. Known: "),
    ],
)
def test_the_nearest_is_named_with_what_is_lacking(record, said):
    with pytest.raises(UserError, match=said):
        detect_format([record])


def test_the_remedy_is_one_that_the_command_line_has():
    with pytest.raises(UserError, match=r"Name one with --format \(run\.format in a run"):
        detect_format([{"prompt": "a", "completion": "b"}, {"inputs": "a", "targets": "b"}])


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (lambda records: {"version": 1, "data": records}, "stand in the list at 'data'"),
        (
            lambda records: {f"r{n}": record for n, record in enumerate(records)},
            r"each at a key of its own \('r0', …\)",
        ),
    ],
)
def test_records_within_one_object_are_found(inner, said):
    records = [{"instruction": "a", "input": "", "output": "b"}] * 2
    with pytest.raises(UserError, match=said):
        detect_format([inner(records)])
    with pytest.raises(UserError, match="no known format"):
        detect_format([inner([{"foo": 1}])])
