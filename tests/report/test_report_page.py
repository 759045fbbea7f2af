import html
import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_toys import EVIL, make_run

from flan_jax.errors import UserError
from flan_jax.report.html import Markup, element
from flan_jax.report.page import render_report, write_report


class Page(HTMLParser):
    """Parses a page strictly: every element closed, in order; collects tags, attributes and text."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)


def page_of(*folders):
    return Page(render_report(folders))


def test_one_run_shows_scores_loss_mixture_samples_and_configuration(tmp_path):
    page = page_of(make_run(tmp_path / "first"))
    for words in (
        "first",
        "held-out clusters entailment",
        "before is step 0, after step 100",
        "clusters held out of training",
        "mean of 2 tasks 25.0 75.0",
        "topic topics accuracy 25.0 75.0",
        "rte entailment accuracy 33.3 100.0",
        "tokens a second (median) 1,000",
        "last loss (nats a token) 0.200",
        "topic topics 1,200 75.00% – – – 60.00% 3.000 1.100",
        "write writing 50 25.00% – – – 40.00%",
        "Example 0, template 0",
        "Expected:",
        "MODEL_DIR = 'x'",
    ):
        assert words in page.text
    assert page.tags.count("polyline") == 1
    assert "Not in this report" not in page.text
    assert any(value == "75.0, interval 37.5 to 100.0; chance 50.0; before 25.0" for _, value in page.attributes)


def test_samples_show_wrong_and_right_answers_with_their_options(tmp_path):
    text = page_of(make_run(tmp_path / "r")).text
    topic = text[text.index("Sample predictions") :]
    assert "wrong" in topic
    assert "right" in topic
    assert "yes 73%" in topic  # the softmax of scores 1 and 0
    assert f"no {EVIL} 27%" in topic


def test_samples_of_one_run_stand_before_and_after_it(tmp_path):
    text = page_of(make_run(tmp_path / "r")).text  # 2 answers right at step 0, 6 at step 100
    samples = text[text.index("Sample predictions") :]
    assert "The first evaluation and the newest." in samples
    # The newest answers choose: a wrong one first, which was wrong before, then right ones, which also were.
    first = samples[samples.index("Example 6, template 0") :]
    assert first.index("step 0: wrong") < first.index("step 100: wrong") < first.index("Example 0, template 0")
    third = first[first.index("Example 0, template 0") :]
    assert third.index("step 0: right") < third.index("step 100: right")
    single = page_of(make_run(tmp_path / "single", scores=((100, 6),))).text
    assert "step 100: " not in single[single.index("Sample predictions") :]


def test_everything_from_data_is_escaped(tmp_path):
    run = make_run(tmp_path / f"run {EVIL.replace('/', '_')}", evil=EVIL)
    for folders in ([run], [run, make_run(tmp_path / "other")]):
        written = render_report(folders)
        page = Page(written)
        assert "script" not in page.tags
        assert "<script" not in written.lower()
        assert EVIL in page.text


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    page = page_of(make_run(tmp_path / "r"))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "onload", "onclick", "style"} & {name for name, _ in page.attributes}
    written = render_report([tmp_path / "r"])
    for loading in ("http:", "https:", "url(", "@import"):
        assert loading not in written
    assert ("name", "viewport") in page.attributes


def test_several_runs_stand_side_by_side(tmp_path):
    first, second = make_run(tmp_path / "first"), make_run(tmp_path / "second", scores=((0, 1), (50, 4)), steps=5)
    page = page_of(first, second)
    assert "2 runs side by side" in page.text
    assert "first: scored at step 100; second: scored at step 50" in page.text
    # Five values a task: name, cluster, metric, chance, one score a run.
    assert "topic topics accuracy 50.0 75.0 75.0, interval" in page.text
    assert page.tags.count("polyline") == 2
    assert "first: right" in page.text
    assert "config.gin of second" in page.text


def test_runs_of_one_folder_name_are_told_apart(tmp_path):
    page = page_of(make_run(tmp_path / "a" / "run"), make_run(tmp_path / "b" / "run"))
    assert "a/run" in page.text
    assert "b/run" in page.text


def test_runs_with_other_suites_and_tasks_are_compared_where_they_can_be(tmp_path):
    first, second = make_run(tmp_path / "first"), make_run(tmp_path / "second")
    path = second / "eval" / "100" / "results.json"
    content = json.loads(path.read_text())
    del content["suites"]["held_in"], content["averages"]["held_in"]
    path.write_text(json.dumps(content))
    assert "topic topics accuracy 50.0 75.0 75.0, interval 37.5 to 100.0; chance 50.0 –" in page_of(first, second).text


@pytest.mark.parametrize(
    ("remove", "named"),
    [
        ("config.gin", "config.gin is missing"),
        ("manifest.json", "manifest.json is missing"),
        ("metrics.jsonl", "metrics.jsonl is missing"),
        ("eval/100/results.json", ""),
        ("eval/100/predictions/topic.jsonl", "topic.jsonl is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path, remove, named):
    folder = make_run(tmp_path / "r")
    (folder / remove).unlink()
    assert named in page_of(folder).text


@pytest.mark.parametrize(
    ("damage", "content", "named"),
    [
        ("manifest.json", "{", "manifest.json is not JSON"),
        ("manifest.json", '{"tasks": [1], "suites": 3, "versions": "x", "held_out_clusters": 5}', ""),
        ("metrics.jsonl", '{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1.0}\n{"ste', "1 damaged line"),
        ("metrics.jsonl", '{"step": 1}\n[]\n7\n', "2 damaged line"),
        ("eval/100/results.json", "{}", "is not a results file"),
        ("eval/100/predictions/topic.jsonl", "{}", "line 1 is not a prediction"),
    ],
)
def test_what_is_damaged_is_named(tmp_path, damage, content, named):
    folder = make_run(tmp_path / "r")
    (folder / damage).write_text(content)
    assert named in page_of(folder).text


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path):
    text = page_of(tmp_path).text
    for name in ("config.gin", "manifest.json", "metrics.jsonl", "no results under eval/"):
        assert name in text


def test_more_than_two_evaluations_give_a_history(tmp_path):
    page = page_of(make_run(tmp_path / "r", scores=((0, 2), (50, 4), (100, 6))))
    assert "Averages by step step held_in held_out 0 25.0 33.3 50 50.0 66.7 100 75.0 100.0" in page.text
    assert "Averages by step" not in page_of(make_run(tmp_path / "q")).text


def test_notes_of_results_are_shown(tmp_path):
    folder = make_run(tmp_path / "r")
    path = folder / "eval" / "100" / "results.json"
    content = json.loads(path.read_text())
    content["suites"]["held_in"][0]["notes"] = ["3 examples are odd."]
    path.write_text(json.dumps(content))
    assert "topic: 3 examples are odd." in page_of(folder).text


def test_write_report_writes_the_page(tmp_path):
    folder = make_run(tmp_path / "r")
    output = write_report([folder], tmp_path / "pages" / "report.html")
    assert output.read_text(encoding="utf-8") == render_report([folder])
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]
    with pytest.raises(UserError, match="cannot be written"):
        write_report([folder], folder / "config.gin" / "report.html")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match="There is no run folder"):
        render_report([tmp_path / "nothing"])
    with pytest.raises(UserError, match="at least one run folder"):
        render_report([])


@given(st.text(), st.text())
def test_elements_escape_text_and_attributes(text, value):
    made = element("p", text, title=value)
    assert html.unescape(made[made.index(">") + 1 : -4]) == html.unescape(html.escape(text, quote=False))
    assert made.count("<") == 2
    assert made[: made.index(">")].count('"') == 2


def test_markup_is_not_escaped_twice():
    assert element("b", element("i", "&"), None, ["<", Markup("<br>")]) == "<b><i>&amp;</i>&lt;<br></b>"


def test_runs_measured_with_other_settings_are_marked(tmp_path):
    few, all_ = ({"max_examples": most, "seed": most} for most in (3, 0))
    one, other = make_run(tmp_path / "one", settings=few), make_run(tmp_path / "other", settings=all_)
    assert (
        "held_in of other was measured with other settings than of one: max_examples: 3 → 0" in page_of(one, other).text
    )
    same = make_run(tmp_path / "same", settings={**few, "seed": 7})
    assert "other settings" not in page_of(one, same).text
    assert "other settings" not in page_of(one).text
