"""The page in headless Chromium, where one is installed: what people see, and what the page does not do."""

import json

import pytest
from chromium import Chromium, find_chromium
from report_toys import EVIL, make_run

from flan_jax.report.document import report_document
from flan_jax.report.page import script_json, write_report

WIDTHS = (390, 820, 1440)
SECTIONS = ["overview", "results", "progress", "shots", "confusion", "overlap", "loss", "mixture", "examples", "files"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed: the page is not rendered (FLAN_JAX_CHROMIUM names one)")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a run with everything that a report can show, and that of two runs."""
    folder = tmp_path_factory.mktemp("pages")
    asked = {"topic": {"task": "both", "mode": "zs_opt"}, "write": {"task": "both", "mode": "fs_opt", "shots": 3}}
    run = make_run(folder / "first", scores=((0, 2), (50, 4), (100, 6)), asked=asked, settings={"seed": 0})
    other = make_run(folder / "second", scores=((0, 1), (100, 5)), settings={"seed": 0})
    path = run / "eval" / "100" / "results.json"
    content = json.loads(path.read_text())
    whole, nothing = {"n": 8, "value": 0.75, "interval": [0.4, 1.0]}, {"n": 0, "value": None, "interval": None}
    most, some = {"n": 6, "value": 0.5, "interval": [0.2, 0.8]}, {"n": 2, "value": 1.0, "interval": [1, 1]}
    none = {"clean": whole, "overlapping": nothing, "short": nothing}
    parts = {"clean": most, "overlapping": some, "short": nothing}
    content["suites"]["held_in"][0]["by_overlap"] = {"exact": none, "normalized": parts, "ngram": parts}
    path.write_text(json.dumps(content))
    return {
        1: write_report([run], folder / "one.html"),
        2: write_report([run, other], folder / "two.html"),
    }


def with_data(page, change):
    """The page with other data."""
    text = page.read_text(encoding="utf-8")
    start = text.index('id="data">') + len('id="data">')
    end = text.index("</script>", start)
    content = json.loads(text[start:end])
    change(content)
    page.write_text(text[:start] + script_json(content) + text[end:], encoding="utf-8")
    return page


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")


def choose(browser, name, value):
    """Chooses as people do: by the control's own event."""
    browser.run(
        f"(() => {{ const list = document.getElementById('pick-{name}'); list.value = {json.dumps(value)};"
        "list.dispatchEvent(new Event('change')); })()"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("runs", [1, 2])
def test_it_renders_without_an_error_or_a_request(browser, pages, runs, width, scheme):
    browser.size(width)
    browser.colors(scheme)
    browser.open(pages[runs])
    assert browser.errors() == []
    assert browser.requests() == [pages[runs].as_uri()]
    found = browser.run("[...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert [name for name in found if name] == SECTIONS
    # Nothing is wider than the window, and every chart is drawn with no number that is none.
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.wait("[...document.querySelectorAll('.plot')].every((box) => box.querySelector('svg'))")
    assert browser.run("document.querySelectorAll('.plot svg').length") >= 6
    assert not browser.run(
        "/NaN|undefined/.test([...document.querySelectorAll('.plot')].map((b) => b.innerHTML).join(''))"
    )
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(246, 246, 243)"
    assert light == (scheme == "light")


def test_the_headline_stands_on_top(browser, pages):
    browser.open(pages[1])
    assert texts(browser, "h1") == ["first"]
    (headline,) = texts(browser, ".score")
    for words in ("Held-out average", "100.0%", "+66.7 points", "since the base (step 0)"):
        assert words in headline
    (facts,) = texts(browser, "dl.facts")
    assert "10K" in facts
    assert "not recorded" in facts


def test_texts_of_models_are_shown_as_they_are(browser, pages):
    browser.open(pages[1])
    assert any(EVIL in text for text in texts(browser, ".example .answer"))
    assert browser.run("document.querySelectorAll('#report script').length") == 0
    assert browser.errors() == []


def test_a_table_sorts_by_a_column(browser, pages):
    browser.open(pages[1])
    browser.run("document.querySelector('#results input[value=held_in]').click()")
    rows = "#results tbody tr:not(.mean) th"
    assert [text.split()[0] for text in texts(browser, rows)] == ["topictopics", "writewriting"]
    head = "[...document.querySelectorAll('#results thead button')].find((b) => b.textContent === 'Chance')"
    for direction, first in (("descending", "topic"), ("ascending", "write")):
        browser.run(f"{head}.click()")
        assert browser.run(f"{head}.parentNode.getAttribute('aria-sort')") == direction
        assert texts(browser, rows)[0].startswith(first)
    assert texts(browser, "#results tbody tr:first-child th") == ["mean of 2 tasks"]


@pytest.mark.parametrize("runs", [1, 2])
def test_noise_and_the_template_chosen_by_validation_stand_beside_the_score(browser, tmp_path, runs):
    scores = tuple((step, right) for step, right in ((0, 1), (20, 3), (40, 4), (60, 6), (80, 5), (100, 6)))
    folders = [make_run(tmp_path / name, scores=scores, settings={"seed": 0}) for name in ("first", "second")[:runs]]
    path = folders[0] / "eval" / "100" / "results.json"
    content = json.loads(path.read_text())
    content["suites"]["held_in"][1]["template_summary"] = {"mean": 0.7, "best_by_validation": 0.625}
    path.write_text(json.dumps(content))
    page = write_report(folders, tmp_path / "page.html")
    browser.size(1440)
    browser.open(page)
    browser.run("document.querySelector('#results input[value=held_in]').click()")
    head = texts(browser, "#results th")
    rows = [text for text in texts(browser, "#results tbody tr") if "write" in text or "mean of" in text]
    assert any("noise" in name.lower() for name in head)
    assert len(rows) == 2
    assert all("signal" in row for row in rows)
    document = report_document(folders)["runs"][0]["suites"][0]
    write = next(task for task in document["tasks"] if task["name"] == "write")
    assert f"± {100 * write['noise']['deviation']:.1f}" in next(row for row in rows if "write" in row)
    if runs == 1:
        assert any(name.startswith("Best template") for name in head)
        assert "62.5by validation" in next(row for row in rows if "write" in row).replace("%", "")
    assert browser.errors() == []


def test_examples_are_filtered_and_searched(browser, pages):
    browser.open(pages[1])
    status = "#examples [role=status]"
    assert texts(browser, status) == ["22 match. This page holds all 22 examples."]
    assert len(texts(browser, ".example")) == 12
    assert texts(browser, ".example:first-child .bars")[0] == f"no {EVIL}73%yes27%"  # the softmax of 1 and 0
    browser.run("document.querySelector('#examples button.more').click()")
    assert len(texts(browser, ".example")) == 22
    choose(browser, "exampleTask", "topic")
    assert texts(browser, status) == ["8 match. This page holds all 8 examples of this task."]
    choose(browser, "verdict", "wrong")
    assert [text.strip() for text in texts(browser, ".example header span:nth-of-type(2)")] == [
        "example 6",
        "example 7",
    ]
    choose(browser, "verdict", "fixed")
    assert len(texts(browser, ".example")) == 4
    choose(browser, "template", "1")
    assert len(texts(browser, ".example")) == 2
    browser.run(
        "(() => { const box = document.getElementById('search'); box.value = '& 5'; box.dispatchEvent(new Event('input')); })()"
    )
    assert len(texts(browser, ".example")) == 1
    assert browser.errors() == []


def test_modes_of_one_task_stand_side_by_side(browser, pages):
    browser.open(pages[1])
    assert texts(browser, "#shots .legend li") == ["zero-shot, options", "few-shot, options, 3 shots"]
    assert texts(browser, "#shots tbody tr") == ["both75.075.0"]


def test_clean_stands_against_contaminated_by_a_definition(browser, pages):
    browser.open(pages[1])
    words, rows = "#overlap header p", "#overlap tbody tr"
    assert texts(browser, words) == [
        "0 of 8 examples in 0 of 1 task overlap with what the run trained on. Paraphrases are not found."
    ]
    browser.run("document.querySelector('#overlap input[value=ngram]').click()")
    assert texts(browser, words)[0].startswith("2 of 8 examples in 1 of 1 task overlap")
    assert texts(browser, rows) == ["topic75.050.020.0 to 80.06100.0100.0 to 100.020"]


def test_of_two_runs_the_examples_that_they_answer_differently_can_be_found(browser, pages):
    browser.open(pages[2])
    choose(browser, "exampleTask", "topic")
    choose(browser, "verdict", "differ")
    assert [text.strip() for text in texts(browser, ".example header span:nth-of-type(2)")] == ["example 5"]


def test_options_are_marked_where_the_prompt_lists_them(browser, pages):
    prompt = "Is no always no?\n\nOPTIONS:\n- yes\n- no\n- not now\n\nSay yes or no, but not that you do not know."

    def asked(content):
        row = content["examples"]["topic"]["rows"][0]
        row.update(inputs=prompt, options=["yes", "no", "not now"], references=["no"])

    changed = pages[1].with_name("marked.html")
    changed.write_text(pages[1].read_text(encoding="utf-8"), encoding="utf-8")
    with_data(changed, asked)
    browser.open(changed)
    choose(browser, "exampleTask", "topic")
    marks = browser.run("""[...document.querySelectorAll('.example:first-child mark')].map((mark) => {
        const range = document.createRange(); range.setStart(mark.parentNode, 0); range.setEndBefore(mark);
        return [range.toString().length, mark.textContent, mark.className]; })""")
    assert marks == [
        [prompt.index("- yes") + 2, "yes", ""],
        [prompt.index("- no") + 2, "no", "wanted"],
        [prompt.index("not now"), "not now", ""],
    ]


def test_colors_can_be_switched_and_choices_keep_the_focus(browser, pages):
    browser.colors("light")
    browser.open(pages[1])
    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(background)
    browser.run("document.querySelector('input[name=theme][value=dark]').click()")
    assert browser.run(background) != light
    browser.run("document.querySelector('input[name=theme][value=auto]').click()")
    assert browser.run(background) == light
    browser.run(
        "(() => { const one = document.querySelector('#loss input[value=tasks]'); one.focus(); one.click(); })()"
    )
    assert browser.run("document.activeElement.value") == "tasks"
    browser.settle()
    assert browser.errors() == []


def test_everything_has_a_name_for_a_screen_reader(browser, pages):
    browser.open(pages[1])
    browser.settle()
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {"image", "button", "radio", "combobox", "searchbox", "link", "region", "table", "heading", "radiogroup"}
    unnamed = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in named and not node.get("name", {}).get("value")
    ]
    assert unnamed == []
    headings = [n for n in nodes if n["role"]["value"] == "heading"]
    assert sum(any(p["name"] == "level" and p["value"]["value"] == 1 for p in n["properties"]) for n in headings) == 1


def test_on_paper_it_is_light_and_has_no_controls(browser, pages):
    browser.colors("dark")
    browser.open(pages[1])
    browser.run("document.querySelector('input[name=theme][value=dark]').click()")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.querySelector('h1')).color") == "rgb(26, 28, 34)"
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.run("document.querySelector('input[name=theme][value=auto]').click()")
