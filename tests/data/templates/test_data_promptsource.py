"""promptsource's file format, on a file of our own."""

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax.data.collections.t0_datasets import T0_SETS, as_on_hub, hub_source, task_name
from flan_jax.data.sources.base import set_data_dir
from flan_jax.data.sources.generated import generated
from flan_jax.data.templates import promptsource
from flan_jax.data.templates.promptsource import JinjaTemplate, promptsource_task, read_templates
from flan_jax.errors import UserError
from flan_jax.tasks.render import render_stream
from flan_jax.tasks.spec import Parts, Prompted, PromptMode, Rendering
from flan_jax.testing.records import without_errors

FILE = """\
dataset: weather_talk
subset: daily
templates:
  0001: !Template
    answer_choices: Rain ||| Sun
    id: 0001
    jinja: 'Sky: {{ sky }}. What comes, rain or sun?

      ||| {% if label != -1 %}{{ answer_choices[label] }}{% endif %}'
    metadata: !TemplateMetadata
      choices_in_prompt: true
      languages: [en]
      metrics: [Accuracy]
      original_task: true
    name: what comes
    reference: ''
  0002: !Template
    answer_choices: '{{ choices|join(" ||| ") }}'
    id: 0002
    jinja: '{{ sky }} so we take ||| {{ choices[label] }}'
    metadata: !TemplateMetadata
      choices_in_prompt: false
      languages: [en]
      metrics: [Accuracy, ROUGE]
      original_task: true
    name: take along
    reference: ''
  0003: !Template
    answer_choices: null
    id: 0003
    jinja: '{% set how = ["Describe", "Paint"]|choice %}{{ how }} the sky before {{ ["rain", "sun"][label] }}. ||| {{ sky }}'
    metadata: !TemplateMetadata
      choices_in_prompt: null
      languages: [en]
      metrics: [BLEU]
      original_task: false
    name: describe
    reference: ''
  0004: !Template
    answer_choices: null
    id: 0004
    jinja: '{% if label == 1 %}Only when it is sunny: {{ sky }} ||| sun{% endif %}'
    metadata: !TemplateMetadata
      choices_in_prompt: null
      languages: [en]
      metrics: []
      original_task: false
    name: sometimes
    reference: ''
"""
RECORD = {"sky": "dark and low", "label": 0, "choices": ["an umbrella", "a hat"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "promptsource" / "templates" / "weather_talk" / "daily"
    path.mkdir(parents=True)
    (path / "templates.yaml").write_text(FILE, encoding="utf-8")
    set_data_dir(tmp_path)
    return path


def read(folder: Path, text: str) -> promptsource.TemplateFile:
    (folder / "templates.yaml").write_text(text, encoding="utf-8")
    return read_templates(folder / "templates.yaml")


def template(jinja: str, choices: str | None = None, **changes: object) -> JinjaTemplate:
    return dataclasses.replace(JinjaTemplate("d", None, "id", "t", jinja, choices, scored=True), **changes)


def test_a_file_becomes_templates_in_the_order_of_their_names(folder: Path) -> None:
    file = read_templates("promptsource/templates/weather_talk/daily/templates.yaml")
    assert (file.dataset, file.subset) == ("weather_talk", "daily")
    describe, sometimes, take_along, what_comes = file.templates
    assert [each.name for each in file.templates] == ["describe", "sometimes", "take along", "what comes"]
    assert isinstance(describe, Rendering)
    assert (describe.inverted, sometimes.inverted, take_along.inverted, what_comes.inverted) == (
        True,
        True,
        False,
        False,
    )
    assert what_comes.choices_in_prompt
    assert not take_along.choices_in_prompt
    assert take_along.metrics == ("Accuracy", "ROUGE")
    assert take_along.fields == ("choices", "label", "sky")


def test_prompt_target_and_choices_of_a_record(folder: Path) -> None:
    describe, sometimes, take_along, what_comes = read_templates(folder / "templates.yaml").templates
    assert what_comes.render(RECORD) == Parts(
        "Sky: dark and low. What comes, rain or sun?", "Rain", ("Rain", "Sun"), ("Rain",), lists_options=True
    )
    assert take_along.render(RECORD) == Parts(
        "dark and low so we take", "an umbrella", ("an umbrella", "a hat"), ("an umbrella",)
    )
    drawn = describe.render(RECORD)
    assert drawn == describe.render(dict(RECORD))
    assert drawn is not None
    assert drawn.inputs in ("Describe the sky before rain.", "Paint the sky before rain.")
    heard = {dataclasses.replace(describe, seed=seed).render(RECORD).inputs for seed in range(20)}
    assert len(heard) == 2, "the seed changes what is drawn"
    assert sometimes.render(RECORD) is None, "a template that renders nothing does not apply"


def test_a_record_without_a_label_is_left_out_or_marked(folder: Path) -> None:
    what_comes = read_templates(folder / "templates.yaml").templates[-1]
    unlabelled = {**RECORD, "label": -1}
    assert what_comes.render(unlabelled) is None
    marked = dataclasses.replace(what_comes, no_label=promptsource.NO_LABEL).render(unlabelled)
    assert marked is not None
    assert (marked.targets, marked.options) == ("<NO LABEL>", ())


def test_a_separator_in_the_data_is_data() -> None:
    found = template("{{ a }} and {{ b.c[0] }} ||| {{ answer_choices[1] }}", "{{ a }} ||| {{ b.c[0] }}").render(
        {"a": "x ||| y", "b": {"c": ["p|||q"]}}
    )
    assert found is not None
    assert (found.inputs, found.targets) == ("x ||| y and p|||q", "p|||q")
    assert found.options == ("x ||| y", "p|||q")


@pytest.mark.parametrize(
    "jinja", ["{{ a }}", "{{ a }} ||| {{ a }} ||| {{ a }}", " ||| {{ a }}", "{% if not a %}x ||| y{% endif %}"]
)
def test_what_does_not_render_to_two_parts_is_left_out(jinja: str) -> None:
    assert template(jinja).render({"a": "text"}) is None


def test_nested_nulls_and_odd_columns() -> None:
    record = {"a-b": None, "c": {"d": [None, {"e": None}]}, "f": 1.5, "g": True, "h": ()}
    found = template("{{ a_b }} {{ c.d[0] }} {{ c.d[1].e }} {{ c.d[7] }} {{ f }} {{ g }} {{ h|length }} ||| y").render(
        record
    )
    assert found is not None
    assert found.inputs == "None None None  1.5 True 0"
    with pytest.raises(UserError, match="fails on the record"):
        template("{{ c.nothing.there }} ||| y").render(record)


def test_choices_are_listed_once_and_never_blank() -> None:
    found = template("q ||| {{ a[0] }}", "{{ a|join('|||') }}").render({"a": ["one", "one", "", "two"]})
    assert found is not None
    assert found.options == ("one", "two")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(UserError, match=r"'t' of d shows the field 'premise', .* Did you mean 'premises'\?"):
        template("{{ premise }} ||| y").render({"premises": "x", "label": 0})
    with pytest.raises(UserError, match="answer_choices"):
        template("{{ answer_choices }} ||| y").render({"answer_choices": "x"})
    found = template("{{ premise|default('none') }} ||| y").render({})
    assert found is not None
    assert found.inputs == "none"


def test_an_attack_is_refused_and_says_which_template() -> None:
    with pytest.raises(UserError, match="promptsource template 't' of d is refused: line 1 reads '__class__'"):
        template("{{ a.__class__ }} ||| y").render({"a": "x"})
    with pytest.raises(UserError, match="'t' of d is stopped: it needs more than"):
        template("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %} ||| y").render({})
    with pytest.raises(UserError, match="'t' of d is refused"):
        template("x ||| y", "{{ ''.__class__ }}").render({})
    hostile = "{{ range(9)|list }} {% raw %} |||"
    found = template("{{ a }} ||| {{ a }}").render({"a": hostile})
    assert found is not None
    assert found.inputs == found.targets == hostile


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: d\ntemplates: !!python/object/apply:os.system [true]\n", "cannot be read as YAML"),
        ("dataset: d\ntemplates: !Other {}\n", "line 2: cannot be read as YAML"),
        ("dataset: [\n", "cannot be read as YAML"),
        ("dataset: d\ntemplates:\n  a: &a {k: v}\n  b: {<<: [*a, *a]}\n", "line 4: .*'<<' merges"),
        ("dataset: d\n", "no mapping 'templates'"),
        ("- 1\n", "no mapping 'templates'"),
        ("dataset: 3\ntemplates: {}\n", "'dataset' is 3"),
        ("dataset: d\ntemplates: {x: 3}\n", "template 'x' is int"),
        ("dataset: d\ntemplates: {x: !Template {name: n}}\n", "must be texts"),
        ("dataset: d\ntemplates: {x: !Template {name: n, jinja: j, metadata: 3}}\n", "'metadata' is int"),
        ("dataset: d\ntemplates: " + "{a: " * 5000, "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_none_says_why(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(folder, text)


def test_the_data_folder_may_be_relative(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    set_data_dir(tmp_path.name)
    (path,) = promptsource.template_files()
    assert read_templates(path) == read_templates(folder / "templates.yaml")
    task = promptsource_task("weather_talk", "daily", cluster="weather")
    assert len(task.templates) == 4


def test_no_file_and_no_folder(tmp_path: Path) -> None:
    set_data_dir(tmp_path)
    with pytest.raises(UserError, match=r"promptsource's templates: .* does not exist"):
        promptsource_task("weather_talk", cluster="weather")
    with pytest.raises(UserError, match=r"promptsource's templates: .* does not exist"):
        list(promptsource.template_files())


def weather(split: str) -> list[dict[str, object]]:
    return [{**RECORD, "sky": f"sky {n}", "label": n % 3 - 1} for n in range(12)]


def test_a_data_set_is_one_task(folder: Path) -> None:
    spec = promptsource_task("weather_talk", "daily", cluster="weather", source=generated("weather", weather, 1))
    assert (spec.name, spec.cluster, spec.predict, spec.metric) == (
        "p3_weather_talk_daily",
        "weather",
        "rank",
        "accuracy",
    )
    assert len(spec.templates) == 4
    assert spec.scored_templates == (2, 3)
    skipped: list[UserError] = []
    task = Prompted(spec, PromptMode.ZS_NOOPT, template_ids=(3,))
    shown = list(filter(None, without_errors(render_stream(task, "test"), skipped)))
    assert [each.targets for each in shown[:3]] == ["Rain", "Sun", "Rain"]
    assert all(each.options == ("Rain", "Sun") for each in shown)
    assert len(shown) == 8, "a third of the records has no label"
    assert not skipped
    assert pickle.loads(pickle.dumps(task)) == task


def test_templates_are_chosen_by_name_identifier_or_rule(folder: Path) -> None:
    source = generated("weather", weather, 1)

    def names(**choice: object) -> list[str]:
        spec = promptsource_task("weather_talk", "daily", cluster="weather", source=source, **choice)
        return [each.name for each in spec.templates]

    assert names(templates=["what comes", "describe"]) == ["what comes", "describe"]
    assert names(templates=lambda each: each.answer_choices is not None) == ["take along", "what comes"]
    assert names(templates=["describe"]) == ["describe"], (
        "where none asks for the task itself, what they ask is the task"
    )
    with pytest.raises(UserError, match="Did you mean 'describe'"):
        names(templates=["descrive"])
    with pytest.raises(UserError, match="none of its 4 templates"):
        names(templates=lambda each: False)
    with pytest.raises(UserError, match="Give cluster="):
        promptsource_task("weather_talk", "daily")


def test_what_differs_in_a_rendering_differs_in_its_repr(folder: Path) -> None:
    one = read_templates(folder / "templates.yaml").templates[0]
    assert repr(one) == repr(dataclasses.replace(one))
    for change in (
        {"seed": 1},
        {"truncate": 9},
        {"no_label": "x"},
        {"jinja": "a ||| b"},
        {"answer_choices": "a ||| b"},
    ):
        assert repr(one) != repr(dataclasses.replace(one, **change))


def test_a_local_folder_takes_the_place_of_the_hub(tmp_path: Path) -> None:
    from flan_jax.data.sources import published

    (tmp_path / "coreference" / "wsc").mkdir(parents=True)
    (tmp_path / "coreference" / "wsc" / "test.jsonl").write_text(
        '{"text": "Ann saw her.", "target": {"span1_text": "Ann", "span2_text": "her"}, "label": false}\n'
    )
    source = hub_source(T0_SETS["super_glue", "wsc.fixed"], task_name("super_glue", "wsc.fixed"))
    published.set_source_dir(tmp_path)
    try:
        (record,) = source.records("test")
    finally:
        published.set_source_dir(None)
    assert source.folders == ("p3_super_glue_wsc_fixed", "super_glue_wsc_fixed", "wsc")
    assert hub_source(T0_SETS["anli", None], "p3_anli_r1").folders == ("p3_anli_r1", "anli_r1")
    assert hub_source(T0_SETS["imdb", None], "p3_imdb").folders == ("p3_imdb", "imdb")
    unfolded = as_on_hub(record)
    assert (unfolded["span1_text"], unfolded["span2_text"], unfolded["label"]) == ("Ann", "her", 0)
    assert unfolded["label"] is not False
    assert as_on_hub({"label": "2"}) == {"label": 2}
    assert as_on_hub({"label": "yes"}) == {"label": "yes"}


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, mixtures.t0, flan_jax.data.templates.promptsource\n"
        "print(sorted({'yaml', 'jinja2', 'datasets', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
