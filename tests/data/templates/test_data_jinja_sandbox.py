"""Hostile templates and hostile data: refused or harmless, and never for long."""

import time
from typing import Any

import pytest

from flan_jax.data.templates import jinja_budget
from flan_jax.data.templates.jinja_budget import MAX_OUTPUT, Refused, RenderBudget, draws, plain
from flan_jax.data.templates.jinja_sandbox import compiled
from flan_jax.errors import UserError


def rendered(source: str, truncate: int = 0, seed: int = 0, **fields: Any) -> str:
    return compiled(source, truncate)(plain(fields, str), RenderBudget(draws(seed, source, fields)))


@pytest.mark.parametrize(
    "source",
    [
        "{{ text.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ range.__globals__ }}",
        "{{ text.__init__.__globals__['os'].system('true') }}",
        "{{ 2 ** 99999999 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% include 'secret' %}",
        "{% import 'os' as os %}",
        "{% extends 'base' %}",
        "{% set block %}text{% endset %}",
        "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
        "{{ self }}",
        "{{ text|attr('upper') }}",
        "{{ text|pprint }}",
        "{{ unknown filter",
        "{% if text %}",
        "{{ " + "(" * 3000,
        "x" * 200_000,
    ],
)
def test_what_is_not_in_the_language_is_refused_before_a_record_is_read(source: str) -> None:
    with pytest.raises(UserError, match=r"is refused|is not valid Jinja|cannot be compiled"):
        compiled(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ text['__class__'] }}",
        "{{ text['__cl' ~ 'ass__'] }}",
        "{{ [text]|map(attribute='__class__')|list }}",
        "{{ ['__class__']|map('lower')|list and text[(['__class__']|first)] }}",
        "{{ namespace(a=1)._Namespace__attrs }}",
        "{{ '{0.__class__}'.format(text) }}",
        "{{ '{0.__class__}'.format_map({'a': 1}) }}",
        "{{ dict.fromkeys([1]) }}",
        "{{ text.encode() }}",
        "{{ text.center(999999999) }}",
        "{{ '%999999999d'|format(1) }}",
        "{{ '%*d'|format(999999999, 1) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ 1.5|round(999999999, 'ceil') }}",
        "{{ range }}",
        "{{ 'a' ~ text.upper }}",
        "{{ [text]|map('upper') }}",
        "{{ '%(a)999999999d'|format(a=1) }}",
        "{{ '%(a(b))999999999d'|format(1) }}",
        # Shown, these would be addresses in memory, others in every process.
        "{{ [text.upper] }}",
        "{{ [text.upper]|join }}",
        "{{ namespace(a=[]).a + [text.upper] }}",
        "{{ {'a': text.upper}.items() }}",
        "{{ [[text]|map('upper')] }}",
        "{% for i in [1] %}{{ [loop] }}{% endfor %}",
    ],
)
def test_what_is_only_seen_when_it_runs_is_stopped(source: str) -> None:
    with pytest.raises(Refused):
        rendered(source, text="abc")


@pytest.mark.parametrize(
    "source",
    [
        "{{ range(999999999)|list }}",
        "{{ text * 99999999 }}",
        "{{ [text] * 99999999 }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ zip(range(99999), range(99999))|list|length }}{% endfor %}",
        "{% for i in range(99999) %}{{ text|replace('a', 'b') }}{{ text }}{% endfor %}",
        "{% set x = [1] %}{% for i in x %}{{ x.append(i) }}{% endfor %}",
        "{% set x = [1] %}{% for i in range(99) %}{{ x.extend(x) }}{% endfor %}",
        "{% set n = namespace(x=text) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x=text) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=3) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% set n = namespace(x=3) %}{% for i in range(9999) %}{% set n.x = n.x - (0 - n.x) %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
        "{% set x = [] %}{{ x.append(x) }}{{ x.append(x) }}{{ x }}",
        "{{ text.replace('', text) }}",
        "{{ text|replace('', text) }}",
        "{{ range(9999)|join(text) }}",
        "{{ text.join(range(9999)|map('string')) }}",
    ],
)
def test_a_bomb_is_stopped_soon_and_small(source: str) -> None:
    started = time.process_time()
    with pytest.raises(Refused):
        rendered(source, text="a" * 20_000)
    assert time.process_time() - started < 20, "the budget counts work; this much takes a second or two"


@pytest.mark.parametrize(
    "use",
    [
        "{{ n }}",
        "{{ 'a' ~ n }}",
        "{{ '%s'|format(n) }}",
        "{{ {'a': n.x}.items() }}",
        "{{ {'a': n.x}.items() == {'a': n.y}.items() }}",
        "{{ n.x is eq(n.y) }}",
        "{{ n.x is lower }}",
        "{{ {}[n.x] }}",
        "{{ {n.x: 1}|length }}",
        "{{ [m, n]|map(attribute='x')|max|length }}",
        "{{ [m, n]|sort(attribute='x')|length }}",
    ],
)
def test_a_value_that_holds_itself_many_times_is_paid_for_wherever_it_is_gone_through(
    use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jinja_budget, "MAX_WORK", 20_000)
    doubled = "{% set n.x = (n.x, n.x) %}{% set n.y = (n.y, n.y) %}"
    made = (
        f"{{% set n = namespace(x=1, y=1) %}}{{% for i in range(16) %}}{doubled}{{% endfor %}}"
        "{% set m = namespace() %}{% set m.x = n.y %}"
    )
    with pytest.raises(Refused, match="steps"):
        rendered(made + use)


def test_the_whole_output_is_limited() -> None:
    with pytest.raises(Refused, match=f"{MAX_OUTPUT:,} characters"):
        rendered("{% for i in range(9) %}{{ text }}{% endfor %}", text="a" * 900_000)


def test_text_of_a_record_is_never_a_template() -> None:
    hostile = "{{ 7 * 7 }} {% for x in range(9) %}{{ x }}{% endfor %} {# gone #} {{ ''.__class__ }}"
    assert rendered("{{ text }}", text=hostile) == hostile
    assert rendered("{{ [text]|join }}", text=hostile) == hostile


def test_the_record_itself_is_out_of_reach() -> None:
    record = {"words": ["a", "b"], "more": {"c": ["d"]}}
    program = compiled("{{ words.pop() }}{{ more.c.append('e') }}{{ more.update({'f': 1}) }}")
    program(plain(record, str), RenderBudget(draws(0, "t", record)))
    assert record == {"words": ["a", "b"], "more": {"c": ["d"]}}


def test_what_templates_need_works() -> None:
    source = (
        "{% set long = [] %}{% for w in words if w|length > 1 %}{{ long.append(w)|default('', true) }}{% endfor %}"
        "{{ long|join(', ') }}; {{ words[1:]|map('upper')|join('-') }}; {{ 'x: ' ~ (n + 1) }}; {{ n / 2 }}; "
        "{% set s = namespace(all=0) %}{% for i in range(n) %}{% set s.all = s.all + i %}{% endfor %}{{ s.all }}; "
        "{% for a, b in zip(words, [1, 2]) %}{{ loop.index }}{{ a }}{{ b }}{{ ' ' if not loop.last }}{% endfor %}; "
        "{{ {'k': words}.k[0].split('c') }}; {{ rows|selectattr('v', 'equalto', 2)|map(attribute='w')|list }}"
    )
    words = ["bcd", "e", "fg"]
    rows = [{"v": 1, "w": "no"}, {"v": 2, "w": "yes"}]
    assert rendered(source, words=words, n=3, rows=rows) == (
        "bcd, fg; E-FG; x: 4; 1.5; 3; 1bcd1 2e2; ['b', 'd']; ['yes']"
    )


def test_the_filters_of_promptsource() -> None:
    assert rendered("{{ votes|most_frequent|join('+') }}", votes=["b", "a", "b", "a", "c"]) == "b+a"
    assert rendered("{{ votes|most_frequent }}", votes=[]) == "None"
    assert rendered("{{ text|highlight }}", text="as it is") == "as it is"


def test_a_draw_depends_on_seed_template_record_and_place_alone() -> None:
    source = "{{ range(1000)|choice }} {{ range(1000)|choice }} {{ range(1000)|random }}"
    one = rendered(source, text="a")
    assert one == rendered(source, text="a")
    assert len(set(one.split())) == 3, "each draw is another one"
    assert one != rendered(source, text="b")
    assert one != rendered(source, seed=1, text="a")
    assert one != rendered(source + " ", text="a")
    drawn = [rendered("{{ ['x', 'y', 'z']|choice }}", n=n) for n in range(300)]
    assert all(60 < drawn.count(each) < 140 for each in "xyz")
    with pytest.raises(Refused, match="empty list"):
        rendered("{{ []|choice }}")


def test_a_long_value_is_cut_at_a_word() -> None:
    text = "seven words " * 4
    assert rendered("{{ text }}{{ text|length }}", truncate=20, text=text) == "seven words...48"
    assert rendered("{{ text }}", truncate=len(text) - 5, text=text) == text, "five characters more are let through"
    assert rendered("{{ text }}", text=text) == text


def test_needed_fields_are_those_that_the_template_does_not_make_itself() -> None:
    source = "{% set a = b.c %}{% for d in e %}{{ d }}{{ a }}{% endfor %}{{ f|default('') }}{{ range(2) }}{% if g is defined %}{% endif %}"
    assert compiled(source).needs == ("b", "e")
