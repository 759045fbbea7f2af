"""From a published record to the tokens and back: the indentation of a text stays, whatever its format and view."""

import json

import pytest

from flan_jax.data.instructions import instruction_source, tasks_in
from flan_jax.data.prepare.config import PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.conversations import ConversationTask
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.tasks.spec import Prompted

BYTES = ByteVocabulary()
ASKED = "\tdef area(w, h):"
SAID = "    size = w * h\n\treturn size"


def spoken(role="role", text="content", user="user", assistant="assistant"):
    return [{role: user, text: f"\n{ASKED}\n"}, {role: assistant, text: f"\n\n{SAID}\n \n"}]


def part(text):
    return [{"type": "text", "text": text}]


RECORDS = {
    "alpaca": {"instruction": ASKED, "input": "", "output": f"\n{SAID}\n"},
    "alpaca_input": {"instruction": "Go on.", "input": f"\n{ASKED}\n", "output": SAID},
    "evol_instruct": {"instruction": ASKED, "output": SAID},
    "dolly": {"instruction": ASKED, "context": "", "response": SAID, "category": "open_qa"},
    "messages": {"messages": spoken()},
    "content_in_parts": {
        "messages": [{"role": "user", "content": part(ASKED)}, {"role": "assistant", "content": part(SAID)}]
    },
    "sharegpt": {"conversations": spoken("from", "value", "human", "gpt")},
    "lima": {"conversations": [ASKED, SAID], "source": "x"},
    "baize": {"topic": "t", "input": f"A frame.\n[|Human|] {ASKED}\n[|AI|] {SAID}\n[|Human|] "},
    "prompt_completion": {"prompt": ASKED, "completion": f"{SAID}\n"},
    "prompt_completion_chat": {"prompt": spoken()[:1], "completion": spoken()[1:]},
    "flan_dump": {"inputs": ASKED, "targets": SAID, "task_name": "t"},
    "p3": {"inputs_pretokenized": ASKED, "targets_pretokenized": SAID},
    "self_instruct": {"instruction": ASKED, "instances": [{"input": "", "output": SAID}]},
    "super_natural_instructions": {
        "Definition": ["Go on."],
        "Positive Examples": [],
        "Instances": [{"input": f"\n{ASKED}", "output": [f"{SAID}\n"]}],
    },
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_indentation_of_what_is_asked_and_said_is_in_the_tokens(tmp_path, name):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([RECORDS[name]]))
    source = instruction_source(path, max_validation=0)
    config = PrepareConfig(BYTES, TokenizeConfig({"inputs": 300, "targets": 100}))
    (spec,) = tasks_in(source)
    (example,) = make_preprocessor(Prompted(spec), config).examples("train", RecordCounts())
    asked, said = BYTES.decode(example.inputs.tolist()), BYTES.decode(example.targets.tolist())
    assert ASKED in (asked if said == SAID else said)  # one of our templates asks for what was said before
    assert said in (SAID, ASKED)
    assert not asked.endswith((" ", "\n"))
    for template in ("plain", "chatml") if source.known_format.kind == "chat" else ():
        (whole,) = make_preprocessor(ConversationTask("talk", source, template=template), config).examples(
            "train", RecordCounts()
        )
        ids = [index for index in whole.targets.tolist() if index != BYTES.eos_id]
        between = " " if template == "plain" else "\n"
        assert f"{between}{ASKED}" in BYTES.decode(ids)
        assert BYTES.decode(ids).endswith(f"{between}{SAID}")
