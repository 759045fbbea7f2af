"""Cleaning: each step does its work, counts it, and can be switched."""

import pytest

from flan_jax.data.formats.cleaning import STEPS, Cleaning, StepCount
from flan_jax.data.formats.detect import get_format
from flan_jax.data.formats.markdown import is_html, to_markdown
from flan_jax.data.instructions.default_cleaning import default_cleaning
from flan_jax.data.instructions.origin import HubPart, LocalFile
from flan_jax.data.sources.hub import HubSource
from flan_jax.errors import UserError


def chat(*said):
    return {"messages": [{"role": role, "content": content} for role, content in said], "id": "c"}


def example(output="yes", instruction="Is it so?", input=""):
    return {"instruction": instruction, "input": input, "output": output}


def cleaned(step, *records, **settings):
    cleaner = Cleaning((step,), **settings).cleaner()
    return [made for record in records for made in cleaner(record)], cleaner.counts[step]


def contents(record):
    return [message["content"] for message in record["messages"]]


def test_empty_answers_are_left_out():
    made, count = cleaned("empty", example(), example(" \n"), example("x", " "), example("x", "", "only input"))
    assert made == [example(), example("x", "", "only input")]
    assert count == StepCount(filtered=2)
    made, count = cleaned("empty", example(["", "a"]), example(["", " "]))
    assert made == [example(["a"])]
    assert count == StepCount(filtered=1, changed=1)
    rendered = [{"inputs": "a", "targets": ""}, {"inputs": " ", "targets": "b"}, {"inputs": "a", "targets": "b"}]
    assert cleaned("empty", *rendered)[0] == rendered[2:]


def test_a_conversation_ends_before_its_first_empty_turn():
    talk = chat(("system", " "), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", ""), ("user", "d"))
    made, count = cleaned(
        "empty", talk, chat(("user", "a"), ("assistant", " ")), chat(("user", "a"), ("assistant", "b"))
    )
    assert [contents(record) for record in made] == [["a", "b"], ["a", "b"]]
    assert made[0]["id"] == "c"
    assert count == StepCount(filtered=1, changed=1)


def test_excuses_are_left_out_where_the_answer_begins_with_one():
    refused = [
        example("I’m sorry, but I can’t do that."),
        example(["Fine.", "As an AI language model, I have no opinion."]),
        chat(("user", "x"), ("assistant", "ok"), ("user", "y"), ("assistant", "I cannot fulfill this request.")),
        {"inputs": "x", "targets": "As an AI, I do not eat."},
    ]
    late = example("word " * 200 + "as an ai language model")
    asked = chat(("user", "Are you saying 'as an ai language model' often?"), ("assistant", "No."))
    named = example("As a language model I go by the name of Ada.")
    made, count = cleaned("refused", *refused, late, asked, named)
    assert made == [late, asked, named]
    assert count.filtered == 4
    assert cleaned("refused", example("Nope."), phrases=("nope",))[0] == []


def test_repeated_records_are_left_out_once_for_all():
    same = [example(), {**example(), "id": 2}, example("no"), example(input="more")]
    made, count = cleaned("duplicates", *same)
    assert made == [same[0], same[2], same[3]]
    assert count.filtered == 1
    one, other = chat(("user", "a"), ("assistant", "b")), chat(("assistant", "a"), ("user", "b"))
    assert cleaned("duplicates", one, other, one)[0] == [one, other]
    cleaning = Cleaning(("duplicates",))
    assert cleaning.cleaner()(one) == cleaning.cleaner()(one) == [one]  # every pass begins anew


def test_what_the_assistant_says_first_is_left_out():
    talk = chat(("system", "s"), ("assistant", "Welcome!"), ("user", "a"), ("assistant", "b"))
    made, count = cleaned("opening", talk, chat(("assistant", "x")), chat(("user", "a"), ("assistant", "b")))
    assert [contents(record) for record in made] == [["s", "a", "b"], ["a", "b"]]
    assert count == StepCount(filtered=1, changed=1)


def test_a_long_conversation_is_divided_before_turns_of_the_user():
    turns = [("system", "ss")]
    for number in range(5):
        turns += [("user", f"{number}" * 3), ("tool", "t"), ("assistant", f"{number}" * 4)]
    made, count = cleaned("split", chat(*turns), max_length=20)
    assert [contents(record) for record in made] == [
        ["ss", "000", "t", "0000", "111", "t", "1111"],
        ["ss", "222", "t", "2222", "333", "t", "3333"],
        ["ss", "444", "t", "4444"],
    ]
    assert count == StepCount(changed=1, added=2)
    assert all(sum(map(len, contents(record))) <= 20 for record in made)
    assert cleaned("split", chat(*turns), max_length=1000)[1] == StepCount()
    made, _ = cleaned("split", chat(*turns), max_length=4, length=lambda text: len(text.split()))
    assert len(made) == 5


def test_one_exchange_longer_than_the_limit_stays_whole():
    long = chat(("user", "a" * 50), ("assistant", "b" * 50))
    made, count = cleaned(
        "split",
        long,
        chat(("user", "a"), ("assistant", "b"), ("user", "c" * 50), ("assistant", "d")),
        max_length=20,
    )
    assert made[0] == long
    assert [contents(record) for record in made[1:]] == [["a", "b"], ["c" * 50, "d"]]
    assert count == StepCount(changed=1, added=1)


def test_pages_become_markdown_and_talk_of_tags_stays():
    page = '<div class="markdown"><p>Use <strong>this</strong>:</p></div>'
    pasted = "<div>why does this not close</div>"
    made, count = cleaned("markdown", chat(("user", pasted), ("assistant", page)))
    assert contents(made[0]) == [pasted, "Use **this**:"]
    assert count == StepCount(changed=1)
    plain = chat(("user", "a"), ("assistant", "if a < b and c > d, use <div> or\n```html\n<p>x</p>\n```"))
    assert cleaned("markdown", plain) == ([plain], StepCount())


@pytest.mark.parametrize(
    ("page", "markdown"),
    [
        ("<p>one</p><p>two  \n three</p>", "one\n\ntwo three"),
        ("<h2>Head</h2><p>a <em>b</em> <a href='http://x.org/y'>c</a></p>", "## Head\n\na *b* [c](http://x.org/y)"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>d</p>", "- a\n- b\n  - c\n\nd"),
        ("<ol><li><p>a</p></li><li>b</li></ol>", "1. a\n2. b"),
        (
            '<pre><div>python<button>Copy</button></div><code class="hljs language-python">if a &lt; b:\n\n\n    <span>go</span>()\n</code></pre>',
            "```python\nif a < b:\n\n\n    go()\n```",
        ),
        (
            "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>",
            "| a | b |\n| --- | --- |\n| 1 | 2 |",
        ),
        ("<p>x &amp; y &lt;z&gt; {w}</p><script>alert(1)</script>", "x & y <z> {w}"),
        ("<p>open <b>and never closed</p><pre>code", "open **and never closed\n\n```\ncode\n```"),
        ("</ul></ol></a></li><p>stray</p></pre>", "stray"),
        ("<p>a<br>b</p><hr><p>c</p>", "a\nb\n\n---\n\nc"),
    ],
)
def test_html_to_markdown(page, markdown):
    assert to_markdown(page) == markdown


def test_a_page_that_gives_nothing_is_kept():
    page = "<div><script>nothing</script></div>"
    assert is_html(page)
    made, _ = cleaned("markdown", chat(("user", "a"), ("assistant", page)))
    assert contents(made[0])[1] == page


def test_steps_are_switched_by_name():
    cleaning = Cleaning(("empty", "duplicates"))
    assert cleaning.with_steps("markdown", "empty").steps == ("markdown", "empty", "duplicates")
    assert cleaning.without("empty").steps == ("duplicates",)
    assert Cleaning().cleaner()(example("")) == [example("")]
    assert set(Cleaning(tuple(STEPS)).cleaner().counts) == set(STEPS)
    for wrong in (lambda: Cleaning(("empy",)), lambda: cleaning.without("empy"), lambda: cleaning.with_steps("empy")):
        with pytest.raises(UserError, match=r"Unknown cleaning step 'empy'. Did you mean 'empty'"):
            wrong()
    with pytest.raises(UserError, match="twice"):
        Cleaning(("empty", "empty"))
    with pytest.raises(UserError, match="max_length=0"):
        Cleaning(max_length=0)


def test_steps_work_in_their_order():
    cleaner = Cleaning(("markdown", "empty", "duplicates")).cleaner()
    page = chat(("user", "a"), ("assistant", "<p>b</p>"))
    assert contents(cleaner(page)[0]) == ["a", "b"]
    assert cleaner(chat(("user", "a"), ("assistant", "b"))) == []
    assert cleaner.counts["duplicates"].filtered == 1


@pytest.mark.parametrize(
    "text", ["<noinput>", "<No input>", "[no input]", "(No Input)", "noinput", " <no_input> ", "<No input required>."]
)
def test_an_input_that_says_there_is_none_is_none(text):
    certain, count = cleaned("placeholders", example(input=text), certain_only=True)
    assert certain == cleaned("placeholders", example(input=text))[0] == [example(input="")]
    assert count == StepCount(changed=1)


@pytest.mark.parametrize("text", ["N/A", "n/a", "nan", "None", "null", "No input", "no input required.", "-", "NA"])
def test_an_input_that_may_be_meant_is_none_on_request_only(text):
    made, count = cleaned("placeholders", example(input=text), certain_only=True)
    assert (made, count) == ([example(input=text)], StepCount(noticed={"input that says there is none": 1}))
    assert cleaned("placeholders", example(input=text))[0] == [example(input="")]


@pytest.mark.parametrize(
    ("text", "certain", "asked"),
    [
        ("<nooutput>", None, None),
        ("<No Output>", None, None),
        ("N/A", "N/A", None),
        ("nan", "nan", None),
        ("None", "None", "None"),
        ("4<|endoftext|>", "4<|endoftext|>", "4"),
        ("4 <|im_end|>\n</s>", "4 <|im_end|>\n</s>", "4"),
        ("<s>old</s>", "<s>old</s>", "<s>old</s>"),
        ("</s>", "</s>", "</s>"),
        ("Write </s> to end it.", "Write </s> to end it.", "Write </s> to end it."),
        ("It is <|im_end|> or <|im_end|>", "It is <|im_end|> or <|im_end|>", "It is <|im_end|> or <|im_end|>"),
        ("Yes.\n##\n18. Instruction: Go.", "Yes.\n##\n18. Instruction: Go.", "Yes."),
        ("Yes.\n\n### Instruction:\nGo.", "Yes.\n\n### Instruction:\nGo.", "Yes.\n\n### Instruction:\nGo."),
        ("# A\n1. Instruction manual", "# A\n1. Instruction manual", "# A\n1. Instruction manual"),
        ("    x <y>\n", "    x <y>\n", "    x <y>\n"),
    ],
)
def test_what_an_answer_says_by_a_mark(text, certain, asked):
    for wanted, settings in ((certain, {"certain_only": True}), (asked, {})):
        made, count = cleaned("placeholders", example(text), **settings)
        assert made == ([] if wanted is None else [example(wanted)])
        assert (count.filtered, count.changed) == (wanted is None, wanted not in (None, text))
        talk = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", text))
        assert contents(cleaned("placeholders", talk, **settings)[0][0]) == (
            ["a", "b"] if wanted is None else ["a", "b", "c", wanted]
        )


def test_a_label_of_a_rendered_record_is_an_answer():
    record = {"inputs": "Which?", "targets": "N/A"}
    assert cleaned("placeholders", record) == ([record], StepCount())
    accepted = example(["<nooutput>", "yes", ""])
    assert cleaned("placeholders", accepted)[0] == [example(["yes", ""])]


@pytest.mark.parametrize(
    ("name", "record", "steps"),
    [
        ("talks.json", "sharegpt", ("placeholders", "empty")),
        (
            "ShareGPT_V3_unfiltered_cleaned_split.json",
            "sharegpt",
            ("markdown", "opening", "placeholders", "empty", "duplicates", "split"),
        ),
        ("alpaca_evol_instruct_70k.json", "evol_instruct", ("placeholders", "empty", "refused")),
        ("alpaca_evol_instruct_70k.json", "messages", ("placeholders", "empty")),
        ("seed_tasks.jsonl", "self_instruct", ("placeholders", "empty", "duplicates")),
        ("mine.jsonl", "evol_instruct", ("placeholders", "empty")),
    ],
)
def test_a_published_data_set_is_known_by_its_name_and_its_shape(tmp_path, name, record, steps):
    cleaning = default_cleaning(LocalFile(tmp_path / name), get_format(record))
    assert cleaning.steps == steps
    assert cleaning.certain_only == (steps == ("placeholders", "empty"))
    hub = HubPart(HubSource("WizardLM/WizardLM_evol_instruct_70k", None, None, (("train", "train"),)), "train")
    assert "refused" in default_cleaning(hub, get_format("evol_instruct")).steps


def test_a_step_on_request_is_whole():
    own = Cleaning(("placeholders", "empty"), certain_only=True)
    assert not own.with_steps("placeholders").certain_only
    assert own.with_steps("refused").certain_only
