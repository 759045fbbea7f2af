"""Chat templates of strangers: what loops or grows is stopped by its budget, at once and without memory."""

import pytest

from flan_jax.data.chat.templates import CHATML, ChatTemplate
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import Message

TALK = (Message("user", "Hi?"), Message("assistant", "Ho."))
HUGE = 10**10


@pytest.mark.parametrize(
    "text",
    [
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        f"{{{{ 'a' * {HUGE} }}}}",
        f"{{{{ ['a'] * {HUGE} }}}}",
        "{{ 2 ** 100000000 }}",
        f"{{{{ 'a'.ljust({HUGE}) }}}}",
        f"{{{{ 'a'|center({HUGE}) }}}}",
        f"{{{{ 'a\\n\\nb'|indent({HUGE}, true) }}}}",
        f"{{{{ '{{:>{HUGE}}}'.format(1) }}}}",
        f"{{{{ '{{:>{{}}}}'.format(1, {HUGE}) }}}}",
        f"{{{{ '%{HUGE}d' % 1 }}}}",
        f"{{{{ '%*d'|format({HUGE}, 1) }}}}",
        f"{{{{ [1]|batch({HUGE}, 'x')|list }}}}",
        f"{{{{ [1]|tojson(indent={HUGE}) }}}}",
        "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for a in range(100000) %}{{ 'a' * 1000000 }}{% endfor %}",
        "{% set x %}{% for a in range(100000) %}{{ 'a' * 100000 }}{% endfor %}{% endset %}{{ x|length }}",
        "{{ lipsum(100000) }}",
    ],
)
def test_what_loops_or_grows_is_refused(text):
    with pytest.raises(UserError, match=r"Chat template 'evil': it refuses the conversation"):
        ChatTemplate("evil", text).render(TALK)


def test_loops_end_with_their_budget(monkeypatch):
    from flan_jax.data.templates import jinja_budget

    monkeypatch.setattr(jinja_budget, "MAX_WORK", 10_000)
    text = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
    with pytest.raises(UserError, match="it needs more than 10,000 steps"):
        ChatTemplate("evil", text).render(TALK)


def test_what_published_templates_use_is_there():
    text = (
        "{%- macro shown(m, mark='-') %}{{ mark }}{{ m.role|upper }}{%- endmacro %}"
        "{%- set ns = namespace(count=0, first=true) %}"
        "{%- if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}"
        "{%- for m in messages %}{%- if loop.first %}{% continue %}{% endif %}"
        "{%- set ns.count = ns.count + loop.index %}{{ shown(m) }}{{ loop.length }}{{ loop.last }}"
        "{{ m.content.split('.')[0].strip() }}{{ m['content'][::-1] }}{{ '%s' % m.role }}{{ '{:>4}'.format(ns.count) }}"
        "{%- endfor %}{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join(',') }}"
        "{{ {'a': [1, 2]}|tojson }}{{ messages[-1].content|trim ~ '!' }}{{ none is none }}{{ bos_token|default('') }}"
    )
    assert ChatTemplate("own", text).render(TALK) == '2024-ASSISTANT2TrueHo.oHassistant   2Hi?{"a": [1, 2]}Ho.!True'
    assert CHATML.render(TALK).count("<|im_end|>") == 2
