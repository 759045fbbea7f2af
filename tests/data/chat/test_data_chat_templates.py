"""Chat templates: the text of conversations, the spans with loss, and what is refused."""

import dataclasses
import json

import pytest

from flan_jax.data.chat.templates import CHAT_TEMPLATES, CHATML, EOS_MARK, PLAIN, ChatTemplate, load_chat_template
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import Message

TALK = [
    Message("system", "Be brief."),
    Message("user", "\nIs <s> a tag? "),
    Message("assistant", "It was one.\n"),
    Message("tool", "HTML 5: obsolete"),
    Message("assistant", "Use <del>."),
]
UNMARKED = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


def said(template, messages=TALK):
    marked = template.marked(messages)
    return [marked.text[start:end] for start, end in marked.spans]


def test_the_text_of_our_own_templates():
    assert PLAIN.render(TALK) == (
        "System: Be brief.\n\nUser: Is <s> a tag?\n\nAssistant: It was one.</s>\n\n"
        "Tool: HTML 5: obsolete\n\nAssistant: Use <del>.</s>\n\n"
    )
    assert (
        PLAIN.render(TALK[:2], add_generation_prompt=True) == "System: Be brief.\n\nUser: Is <s> a tag?\n\nAssistant:"
    )
    assert CHATML.render(TALK[1:3], add_generation_prompt=True) == (
        "<|im_start|>user\nIs <s> a tag?<|im_end|>\n<|im_start|>assistant\nIt was one.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert said(PLAIN) == [" It was one.</s>", " Use <del>.</s>"]
    assert said(CHATML) == ["It was one.<|im_end|>", "Use <del>.<|im_end|>"]


@pytest.mark.parametrize("template", [PLAIN, CHATML])
def test_the_first_indentation_of_a_message_stays(template):
    code = "    size = w * h\n    return size"
    talk = [Message("user", f"\n\t{code}\n"), Message("assistant", f"\n{code}\n \n")]
    assert f"\t{code}{'' if template is PLAIN else '<|im_end|>'}\n" in template.render(talk)
    assert said(template, talk)[0].removeprefix(" " if template is PLAIN else "").startswith(code)


def test_what_is_learned_follows_the_prompt_that_a_model_gets():
    for template in CHAT_TEMPLATES.values():
        marked = template.marked(TALK)
        for reply, (start, _) in zip((2, 4), marked.spans, strict=True):
            assert template.render(TALK[:reply], add_generation_prompt=True) == marked.text[:start]


def test_a_mark_within_a_mark_is_one_reply():
    tag = "{% generation %}", "{% endgeneration %}"
    text = (
        f"{{% for m in messages %}}{{{{ m.role }}}}{tag[0]}a{tag[0]}{{{{ m.content }}}}{tag[1]}b{tag[1]}{{% endfor %}}"
    )
    assert said(ChatTemplate("n", text), TALK[:2]) == ["aBe brief.b", "a\nIs <s> a tag? b"]


def test_without_marks_a_reply_is_the_difference_with_the_turns_end_and_no_space_behind_it():
    assert said(ChatTemplate("u", UNMARKED)) == ["It was one.\n</assistant>", "Use <del>.</assistant>"]
    lines = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    assert said(ChatTemplate("l", lines)) == [" It was one.\n", " Use <del>.\n"]  # here the line end is the end


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ messages | length }}", "not how it begins the whole"),
        # Some leave out of earlier turns what they keep in the last one.
        (
            "{% for m in messages %}{% if loop.last or m.role != 'assistant' %}{{ m.role }}{{ m.content }}{% endif %}{% endfor %}",
            "not how it begins the whole",
        ),
        ("{% for m in messages %}{{ m.role }", "no valid Jinja .*line 1"),
        ("{{ raise_exception('no tools here') }}", "refuses the conversation .no tools here."),
        ("{{ messages[7].content }}", "refuses the conversation .*no element 7"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__'"),
        ("{{ messages.clear() }}", "'clear' of 'list' object is unsafe"),
        ("{% set ns = namespace(_a=1) %}", "no room for '_a'"),
        (
            "{% filter truncate(20) %}{% generation %}{{ messages[0].content * 9 }}{% endgeneration %}{% endfilter %}",
            "loses its end",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_named(text, why):
    with pytest.raises(UserError, match=f"Chat template 'mine': .*{why}"):
        ChatTemplate("mine", text).marked(TALK)


def test_special_tokens_are_told_from_the_same_characters_in_a_message():
    template = ChatTemplate(
        "t", "{{ bos_token }}{% for m in messages %}{{ m.content }}</s>{% endfor %}", (("eos_token", "</s>"),)
    )
    marks = template.with_marks()
    assert marks.render([Message("user", "a </s> b")]) == f"\ufdd3a </s> b{EOS_MARK}"
    assert template.render([Message("user", "a </s> b")]) == "a </s> b</s>"


def test_a_mark_in_a_message_is_refused():
    with pytest.raises(UserError, match=r"message 1 has the character U\+FDD2"):
        PLAIN.render([TALK[0], Message("user", f"x{EOS_MARK}")])


def test_the_day_is_the_same_on_every_day():
    template = ChatTemplate("t", "{{ strftime_now('%d %b %Y') }}", today="2031-02-03")
    assert template.render(TALK) == "03 Feb 2031"
    with pytest.raises(UserError, match="today='soon' is no day"):
        ChatTemplate("t", "", today="soon").render(TALK)


def test_json_is_plain():
    assert ChatTemplate("t", "{{ {'a': '<é>'} | tojson }}").render(TALK) == '{"a": "<é>"}'


def test_what_the_text_depends_on_is_in_the_fingerprint():
    template = ChatTemplate("t", "x")
    changed = [
        ChatTemplate("t", "y"),
        ChatTemplate("t", "x", (("eos_token", "</s>"),)),
        ChatTemplate("t", "x", (), (("think", False),)),
        ChatTemplate("t", "x", today="2031-02-03"),
    ]
    assert len({one.fingerprint() for one in [template, *changed]}) == 5
    assert ChatTemplate("other name", "x").fingerprint() == template.fingerprint()


def test_a_tokenizers_folder(tmp_path):
    config = {
        "chat_template": "A",
        "eos_token": {"content": "<e>"},
        "bos_token": "<b>",
        "pad_token": None,
        "model_max_length": 9,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    made = load_chat_template(tmp_path)
    assert (made.name, made.text) == (tmp_path.name, "A")
    assert made.special_tokens == (("bos_token", "<b>"), ("eos_token", "<e>"))
    (tmp_path / "chat_template.jinja").write_text("B")
    assert load_chat_template(str(tmp_path)).text == "B"
    assert load_chat_template(tmp_path / "chat_template.jinja").text == "B"


def test_of_several_templates_the_default_is_taken(tmp_path):
    several = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert load_chat_template(tmp_path).text == "D"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several[:1]}))
    with pytest.raises(UserError, match=r"has no chat template, neither chat_template.jinja nor .*plain, chatml"):
        load_chat_template(tmp_path)


def test_names_and_texts():
    assert load_chat_template("plain") is PLAIN
    assert load_chat_template(CHATML) is CHATML
    assert load_chat_template("{{ messages }}").text == "{{ messages }}"
    with pytest.raises(
        UserError, match=r"Unknown chat template 'chatlm'. Did you mean 'chatml'\? Or give a tokenizer's folder"
    ):
        load_chat_template("chatlm")


# As DeepSeek R1's: the prompt begins thoughts, and a reply without thoughts has nothing of them.
BEGINS_THOUGHTS = (
    "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}{% for call in m.tool_calls %}<tool>{{ call.name }}</tool>{% endfor %}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
)


def test_a_reply_begins_where_it_and_the_prompt_part():
    template = ChatTemplate("begins", BEGINS_THOUGHTS)
    talk = [Message("user", "a"), Message("assistant", "ok."), Message("user", "b")]
    assert said(template, [*talk, Message("assistant", "No.", reasoning="Hm.")]) == ["ok.<end>", "Hm.</think>No.<end>"]
    # Never within its own words, nor within a tag that begins alike.
    assert said(template, [*talk, Message("assistant", "<think")]) == ["ok.<end>", "<think<end>"]
    call = Message("assistant", "", calls='[{"name": "rain"}]')
    assert said(template, [*talk, call, Message("tool", "42"), Message("assistant", "Yes.")]) == [
        "ok.<end>", "<tool>rain</tool><end>", "Yes.<end>"
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["m.reasoning_content", "m['thinking']", "m.get('reasoning')"])
def test_thoughts_are_where_a_template_looks_for_them(key):
    """Whatever else it says of thinking."""
    text = (
        f"{{# reasoning, thinking #}}{{% for m in messages %}}[{{{{ {key} or '' }}}}]{{{{ m.content }}}}{{% endfor %}}"
    )
    talk = [Message("user", "a"), Message("assistant", "ok.", reasoning="Hm.")]
    assert ChatTemplate("looks", text).render(talk) == "[]a[Hm.]ok."


def test_a_variable_that_nothing_gives_is_named():
    template = ChatTemplate("asks", "{{ lab.name }}{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(
        UserError, match="reads the variable 'lab', which nothing gives: name its value in ChatTemplate"
    ):
        template.render(TALK)
    assert dataclasses.replace(template, variables=(("lab", {"name": "X"}),)).render(TALK).startswith("XBe brief.")
