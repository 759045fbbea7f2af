"""Every format: what it looks like, how it is told from the others, what it gives."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.formats.cleaning import STEPS, Cleaning
from flan_jax.data.formats.detect import FORMATS, detect_format, get_format
from flan_jax.data.formats.oasst import oasst
from flan_jax.data.formats.record_meanings import read_record
from flan_jax.data.instructions.profile import normalized_records
from flan_jax.errors import UserError


def message(identifier, role, text, *, parent=None, **rest):
    return {"message_id": identifier, "parent_id": parent, "role": role, "text": text, "lang": "en", **rest}


TREE = {
    "message_tree_id": "t",
    "tree_state": "ready_for_export",
    "prompt": message(
        "q",
        "prompter",
        "How do I boil an egg?",
        replies=[
            message(
                "a2",
                "assistant",
                "In hot water.",
                rank=1,
                replies=[message("q3", "prompter", "How hot?", replies=[])],
            ),
            message(
                "a1",
                "assistant",
                "Eight minutes in boiling water.",
                rank=0,
                replies=[
                    message("q2", "prompter", "And soft?", replies=[message("a3", "assistant", "Five.", replies=[])]),
                    message("q4", "prompter", "Hard?", replies=[]),
                ],
            ),
            message("a0", "assistant", "No idea.", replies=[]),
        ],
    ),
}
CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]
SAID = [("user", "Hello"), ("assistant", "Good day")]
EXAMPLES = {
    "messages": {"messages": CHAT, "id": 3},
    "prompt_completion_chat": {"prompt": CHAT[:1], "completion": CHAT[1:]},
    "prompt_completion": {"prompt": "2 + 2 =", "completion": "4"},
    "alpaca": {"instruction": "Shout.", "input": "hey", "output": "HEY"},
    "evol_instruct": {"instruction": "Name a tree.", "output": "Oak"},
    "dolly": {"instruction": "Who won?", "context": "Ann won.", "response": "Ann", "category": "closed_qa"},
    "dolly_alpagasus": {"instruction": "Who won?", "input": "Ann won.", "output": "Ann", "category": "closed_qa"},
    "sharegpt": {
        "id": "x",
        "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day"}],
    },
    "baize": {
        "topic": "tea",
        "input": "Two people talk.\n[|Human|] Hello\n[|AI|] Good day\n[|Human|] ",
    },
    "lima": {"conversations": ["Hello", "Good day"], "source": "forum"},
    "ultrachat": {"id": "0", "data": ["Hello", "Good day"]},
    "oasst_tree": TREE,
    "oasst_thread": {
        "thread_id": "a1",
        "thread": [message("q", "prompter", "Hello"), message("a", "assistant", "Good day")],
    },
    "oasst_flat": message("q", "prompter", "Hello"),
    "self_instruct": {
        "id": "s1",
        "name": "colours",
        "instruction": "Name the colour.",
        "instances": [{"input": "sky", "output": "blue"}, {"input": "grass", "output": "green"}],
        "is_classification": False,
    },
    "unnatural_instructions": {
        "instruction": "Give the opposite.",
        "instances": [
            {
                "instruction_with_input": "Give the opposite. hot",
                "input": "hot",
                "constraints": "One word.",
                "output": "cold",
            },
            {
                "instruction_with_input": "Give the opposite. up",
                "input": "up",
                "constraints": "None.",
                "output": "down",
            },
        ],
        "reformulations": [
            {
                "instruction": "What is not {INPUT}?",
                "instruction_with_input": "What is not hot?",
                "input": "hot",
                "output": "cold",
            }
        ],
    },
    "natural_instructions": {
        "Title": "Plurals",
        "Prompt": "Write the plural.",
        "Definition": "Write the plural of a noun.",
        "Things to Avoid": "-",
        "Emphasis & Caution": "Mind irregular nouns.",
        "Examples": {"Positive Examples": [], "Negative Examples": []},
        "Instances": [{"input": "cat", "output": ["cats"]}, {"input": "ox", "output": ["oxen", "oxes"]}],
    },
    "super_natural_instructions": {
        "Definition": ["Write the plural of a noun."],
        "Categories": ["Morphology"],
        "Positive Examples": [],
        "Instances": [{"id": "i1", "input": "cat", "output": ["cats"]}],
    },
    "flan_dump": {
        "inputs": "2 + 2 =",
        "targets": "4",
        "task_source": "Flan2021",
        "task_name": "sums",
        "template_type": "zs_opt",
    },
    "recross": {"input": "2 + 2 =", "outputs": ["4", "four"], "id": "sums|train|plain|#7"},
    "flan_cot": {"question": "2 + 2?", "answer": "4", "rationale": "Two and two are four."},
}


def read(name, record=None, known=None):
    left = []
    known = known or get_format(name)
    return list(read_record(known, EXAMPLES[name] if record is None else record, left.append)), left


def said(record):
    return [(message["role"], message["content"]) for message in record["messages"]]


def test_every_format_has_an_example_here():
    assert set(EXAMPLES) == {known.name for known in FORMATS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_detection_tells_each_from_all_others(name):
    assert detect_format([EXAMPLES[name]]).name == name
    assert detect_format([EXAMPLES[name]] * 5).name == name
    assert set(get_format(name).keys) <= set(EXAMPLES[name])  # what an error says it lacks is what it needs


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("oasst_flat", "oasst_tree")])
def test_what_it_gives_has_the_shape_of_its_kind(name):
    records, left = read(name)
    shape = {"chat": {"messages"}, "instruction": {"instruction", "input", "output"}, "rendered": {"inputs", "targets"}}
    assert records
    assert not left
    assert all(shape[get_format(name).kind] <= set(record) for record in records)
    json.dumps(records)


@pytest.mark.parametrize(
    "name", ["messages", "prompt_completion_chat", "sharegpt", "baize", "lima", "ultrachat", "oasst_thread"]
)
def test_conversations(name):
    (record,), _ = read(name)
    assert said(record) == SAID


def test_instructions_keep_what_they_are_given():
    assert read("alpaca")[0] == [{"instruction": "Shout.", "input": "hey", "output": "HEY"}]
    assert read("evol_instruct")[0] == [{"instruction": "Name a tree.", "input": "", "output": "Oak"}]
    expected = {"instruction": "Who won?", "input": "Ann won.", "output": "Ann", "category": "closed_qa"}
    assert read("dolly")[0] == read("dolly_alpagasus")[0] == [expected]
    assert read("alpaca", {"instruction": "Hi.", "input": None, "output": "Hi"})[0][0]["input"] == ""
    assert [(r["input"], r["output"]) for r in read("self_instruct")[0]] == [("sky", "blue"), ("grass", "green")]


def test_unnatural_instructions_keep_constraints_and_reformulations():
    first, second, again = read("unnatural_instructions")[0]
    assert (first["instruction"], first["input"]) == ("Give the opposite.\nConstraints: One word.", "hot")
    assert second["instruction"] == "Give the opposite."
    assert (again["instruction"], again["input"], again["source"]) == ("What is not hot?", "", "reformulation")


def test_natural_instructions_say_what_to_mind_and_nothing_for_a_dash():
    records, _ = read("natural_instructions")
    assert records[0]["instruction"] == "Write the plural of a noun.\nTake care: Mind irregular nouns."
    assert [record["output"] for record in records] == [["cats"], ["oxen", "oxes"]]
    assert read("super_natural_instructions")[0][0] == {
        "instruction": "Write the plural of a noun.",
        "input": "cat",
        "output": ["cats"],
        "category": "Morphology",
        "id": "i1",
    }


def test_one_damaged_instance_harms_no_other():
    record = {
        **EXAMPLES["natural_instructions"],
        "Instances": [{"input": "a", "output": None}, {"input": "b", "output": "c"}],
    }
    bad, good = read("natural_instructions", record)[0]
    assert "Instances[0]: 'output' is null" in str(bad)
    assert good["output"] == "c"
    record = {**EXAMPLES["self_instruct"], "instances": [{"input": 3, "output": "x"}, {"input": None, "output": "y"}]}
    bad, good = read("self_instruct", record)[0]
    assert "instances[0]: 'input' must be a text, not int (3)" in str(bad)
    assert (good["input"], good["output"]) == ("", "y")


def test_rendered_records_keep_where_they_come_from():
    (record,), _ = read("flan_dump")
    assert record == EXAMPLES["flan_dump"]
    hub = {"inputs": "a", "targets": "b", "_task_name": "sums", "_template_type": "fs_opt", "_template_idx": 3}
    assert read("flan_dump", hub)[0][0] == {
        "inputs": "a",
        "targets": "b",
        "task_name": "sums",
        "template_type": "fs_opt",
        "template_idx": 3,
    }
    p3 = {"inputs": [3, 1], "inputs_pretokenized": "a", "targets": [4, 1], "targets_pretokenized": "b"}
    assert detect_format([p3]).name == "flan_dump"
    assert read("flan_dump", p3)[0] == [{"inputs": "a", "targets": "b"}]
    (record,), _ = read("recross")
    assert (record["targets"], record["task_name"], record["template_type"]) == (["4", "four"], "sums", "plain")
    assert read("prompt_completion", {"prompt": "a", "response": "b"})[0] == [{"inputs": "a", "targets": "b"}]
    assert read("flan_cot")[0][0]["output"] == "Two and two are four.\nThe answer is 4"


def test_sharegpt_keeps_system_and_tools():
    record = {
        "system": "Use tools.",
        "tools": '[{"name": "time"}]',
        "conversations": [
            {"from": "human", "value": "What time is it?"},
            {"from": "function_call", "value": '{"name": "time"}'},
            {"from": "observation", "value": "noon"},
            {"from": "gpt", "value": "Noon."},
        ],
    }
    (made,), _ = read("sharegpt", record)
    assert [role for role, _ in said(made)] == ["system", "user", "assistant", "tool", "assistant"]
    assert made["tools"] == '[{"name": "time"}]'


def test_messages_keep_calls_and_join_the_parts_of_a_content():
    call = {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    record = {
        "messages": [
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "What"}, {"type": "text", "text": "time?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "noon"},
        ]
    }
    (made,), _ = read("messages", record)
    assert said(made) == [
        ("system", "Be short."),
        ("user", "What\ntime?"),
        ("assistant", ""),
        ("tool", "noon"),
    ]
    assert made["messages"][2]["tool_calls"] == [call]


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("messages", {"messages": [{"role": "wizard", "content": "x"}]}, "message 0: Unknown speaker 'wizard'"),
        ("messages", {"messages": [{"role": "user", "content": None}]}, "message 0: its 'content' is null"),
        ("messages", {"messages": CHAT[:1]}, "none of its 1 messages is the assistant's"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "only text can be read"),
        ("messages", {"messages": None}, "'messages' must be a list, not NoneType"),
        ("alpaca", {"instruction": "x", "input": "", "output": 7}, "'output' must be a text, not int (7)"),
        ("alpaca", {"instruction": None, "output": "x"}, "'instruction' is null"),
        ("alpaca", {"output": "x"}, "'instruction' is missing"),
        ("alpaca", {"instruction": "a\0b", "input": "", "output": "x"}, "'instruction' holds a NUL character"),
        (
            "alpaca",
            {"instruction": "a", "input": "", "output": "\ud83d"},
            "'output' is not valid Unicode (character 1)",
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": {}}]},
            "message 0: 'value' must be a text, not dict",
        ),
        ("sharegpt", {"conversations": ["a"]}, "conversations[0] must be an object, not str"),
        ("lima", {"conversations": ["a", 3]}, "'conversations[1]' must be a text, not int"),
        ("unnatural_instructions", {"instruction": "x", "instances": {}}, "'instances' must be a list, not dict"),
        ("super_natural_instructions", {"Definition": [], "Instances": []}, "'Definition' is empty"),
        ("oasst_tree", {"prompt": {"text": "x"}}, "the root of the tree has no 'role'"),
        ("oasst_tree", {"prompt": {"text": "x", "role": "user", "replies": 7}}, "'replies' must be a list, not int"),
    ],
)
def test_damage_is_named(name, record, said):
    with pytest.raises(UserError) as error:
        read(name, record)
    assert said in str(error.value)


def test_the_best_path_of_a_tree():
    (record,), left = read("oasst_tree")
    assert said(record) == [
        ("user", "How do I boil an egg?"),
        ("assistant", "Eight minutes in boiling water."),
        ("user", "And soft?"),
        ("assistant", "Five."),
    ]
    assert record["lang"] == "en"
    assert record["message_tree_id"] == "t"
    assert not left


def test_all_paths_of_a_tree_end_in_answers_and_are_there_once():
    records, _ = read("oasst_tree", known=oasst(paths="all")[0])
    assert [said(record)[-1][1] for record in records] == [
        "Five.",
        "Eight minutes in boiling water.",
        "In hot water.",
        "No idea.",
    ]
    two = {"prompt": message("q", "prompter", "Q", replies=[message("a", "assistant", "A", replies=[
        message(f"q{i}", "prompter", f"Q{i}", replies=[]) for i in range(3)])])}  # fmt: skip
    assert len(read("oasst_tree", two, oasst(paths="all")[0])[0]) == 1


def test_deleted_and_failed_messages_take_their_replies_with_them():
    tree = json.loads(json.dumps(TREE))
    tree["prompt"]["replies"][1]["deleted"] = True
    records, left = read("oasst_tree", tree)
    assert [said(record)[-1][1] for record in records] == ["In hot water."]
    assert left == ["deleted"]
    tree["prompt"]["review_result"] = False
    assert read("oasst_tree", tree) == ([], ["failed review", "no answer"])
    assert read("oasst_tree", {**TREE, "tree_state": "aborted_low_grade"}) == ([], ["abandoned tree"])
    thread = {
        "thread": [
            message("q", "prompter", "Q"),
            message("a", "assistant", "A"),
            message("r", "prompter", "R", deleted=True),
        ]
    }
    assert len(said(read("oasst_thread", thread)[0][0])) == 2


def test_a_language_is_kept_and_others_are_not():
    tree = json.loads(json.dumps(TREE))
    tree["prompt"]["replies"][1]["lang"] = "de"
    records, left = read("oasst_tree", tree, oasst(languages=("en",))[0])
    assert said(records[0])[-1][1] == "In hot water."
    assert left == ["other language"]
    assert read("oasst_tree", tree, oasst(languages=("fr",))[0])[0] == []
    with pytest.raises(UserError, match=r"paths='most' must be 'best' or 'all'"):
        oasst(paths="most")


def flat(message):
    yield {key: value for key, value in message.items() if key != "replies"}
    for reply in message.get("replies", ()):
        yield from flat({**reply, "parent_id": message["message_id"]})


def test_flat_rows_give_what_their_tree_gives():
    rows = list(flat(TREE["prompt"]))
    known = get_format("oasst_flat")
    left = []
    (tree,) = known.gather(list(enumerate(reversed(rows))), left.append)
    assert read("oasst_flat", tree[1])[0][0]["messages"] == read("oasst_tree")[0][0]["messages"]
    assert not left
    orphans = [(number, row) for number, row in enumerate(rows) if row["message_id"] != "a1"]
    ((_, tree),) = known.gather(orphans, left.append)
    assert left == ["parent is missing"] * 3
    assert said(read("oasst_flat", tree)[0][0])[-1][1] == "In hot water."


def test_flat_rows_that_are_damaged_are_told():
    known = get_format("oasst_flat")
    rows = [(1, message("q", "prompter", "Q")), (2, message("q", "prompter", "again")), (3, {"message_id": "x"})]
    rows += [
        (4, message("b", "assistant", "B", parent="c")),
        (5, message("c", "prompter", "C", parent="b")),
    ]  # a circle
    left = []
    made = list(known.gather(rows, left.append))
    assert ["was there before" in str(made[0][1]), "'role' is missing" in str(made[1][1])] == [True, True]
    assert len(made) == 3
    assert left == ["parent is missing"] * 2


def test_a_deep_tree_needs_no_recursion():
    deep = message("m0", "prompter", "0", replies=[])
    at = deep
    for number in range(1, 3000):
        at["replies"] = [message(f"m{number}", ("prompter", "assistant")[number % 2], str(number), replies=[])]
        at = at["replies"][0]
    (record,), _ = read("oasst_tree", {"prompt": deep})
    assert len(record["messages"]) == 3000


def test_lima_prompts_without_answer_are_left_out():
    assert read("lima", {"conversations": ["Only a question"]}) == ([], ["no answer"])


def test_unknown_keys_are_named_with_the_nearest_format():
    with pytest.raises(UserError) as error:
        detect_format([{"instruction": "x", "answer": "y"}])
    assert "the keys instruction, answer" in str(error.value)
    assert "lacks 'output'" in str(error.value)
    with pytest.raises(UserError, match=r"records with the keys foo, bar. Known: messages, "):
        detect_format([{"foo": 1, "bar": 2}])
    with pytest.raises(UserError, match="has its keys with other kinds of values"):
        detect_format([{"messages": "hello"}])
    with pytest.raises(UserError, match="there is no record to tell the format by"):
        detect_format([])


def test_a_file_of_two_formats_is_refused_and_a_damaged_record_does_no_harm():
    with pytest.raises(UserError, match=r"fit several formats \(alpaca 2, sharegpt 2\). Name one"):
        detect_format([EXAMPLES["alpaca"], EXAMPLES["sharegpt"]] * 2)
    assert detect_format([EXAMPLES["alpaca"]] * 3 + [{"foo": 1}]).name == "alpaca"
    mixed = [EXAMPLES["dolly_alpagasus"], {**EXAMPLES["dolly_alpagasus"], "category": "other"}]
    assert detect_format(mixed).name == "alpaca"


def test_an_unknown_name_is_corrected():
    with pytest.raises(UserError, match=r"Unknown record format 'alpacca'. Did you mean 'alpaca'"):
        get_format("alpacca")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud83d\0{x}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "text", "input", "x"]), inner),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@given(st.data())
def test_whatever_is_wrong_with_a_record_is_told_as_such(data):
    """A record with junk anywhere in it is read, left out or refused; what is read has sound texts."""
    name = data.draw(st.sampled_from(sorted(EXAMPLES)))
    record = copy.deepcopy(EXAMPLES[name])
    *path, last = data.draw(st.sampled_from(list(places(record))[1:]))
    at = record
    for key in path:
        at = at[key]
    if data.draw(st.booleans()):
        at[last] = data.draw(JUNK)
    else:
        del at[last]
    origin = Rows([(0, record), (1, EXAMPLES[name])])
    cleaner = Cleaning(tuple(STEPS)).without("duplicates").cleaner()
    made = list(normalized_records(origin, get_format(name), cleaner, lambda reason: None))
    for _, _, one in made:
        if not isinstance(one, UserError):
            json.dumps(one).encode()
            "".join(texts_in(one)).encode()
        else:
            assert len(str(one)) < 400
    # The sound record beside it is not touched; the sound row of a tree is only a question.
    assert name == "oasst_flat" or any(number == 1 for number, _, _ in made)


class Rows:
    def __init__(self, rows):
        self.rows = rows

    def numbered(self, only=None):
        return iter(self.rows)


def texts_in(record):
    for key in ("instruction", "input", "inputs"):
        yield record.get(key, "")
    for key in ("output", "targets"):
        yield from [record.get(key, "")] if isinstance(record.get(key, ""), str) else record[key]
    for message in record.get("messages", ()):
        yield message["content"]


@pytest.mark.parametrize("parent", [None, "", "None", "null", float("nan")])
def test_a_row_without_a_parent_is_a_root(parent):
    rows = [
        {"message_id": "a", "parent_id": parent, "role": "prompter", "text": "How tall?"},
        {"message_id": "b", "parent_id": "a", "role": "assistant", "text": "Nine feet.", "rank": 0.0},
    ]
    known = get_format("oasst_flat")
    ((_, tree),) = known.gather(enumerate(rows), lambda reason: None)
    (record,) = list(read_record(known, tree, lambda reason: None))
    assert said(record) == [("user", "How tall?"), ("assistant", "Nine feet.")]


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (("Human ", " GPT"), ("user", "assistant")),
        (("human", "bing"), ("user", "assistant")),
        (("usr", "bard"), ("user", "assistant")),
        (("instruction", "output"), ("user", "assistant")),
        (("input", "response"), ("user", "assistant")),
        (("customer", "gpt-4"), ("user", "assistant")),
        (("USER", "Claude-2.1"), ("user", "assistant")),
        (("user", "AI", "tool-response", "Assistant"), ("user", "assistant", "tool", "assistant")),
        (("user", "bot", "ipython", "llama2"), ("user", "assistant", "tool", "assistant")),
        (("user", "bot", "tool_result", "model"), ("user", "assistant", "tool", "assistant")),
    ],
)
def test_names_of_speakers(names, roles):
    record = {"conversations": [{"from": name, "value": f"said {n}"} for n, name in enumerate(names)]}
    ((made,), _) = read("sharegpt", record)
    assert tuple(role for role, _ in said(made)) == roles


@pytest.mark.parametrize("name", ["narrator", None, 3, "", "assistant2b"])
def test_a_speaker_that_nobody_knows_is_refused(name):
    with pytest.raises(UserError, match="Unknown speaker"):
        read("sharegpt", {"conversations": [{"from": name, "value": "a"}, {"from": "gpt", "value": "b"}]})
