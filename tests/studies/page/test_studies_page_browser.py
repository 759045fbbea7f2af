"""The page of a study in headless Chromium, where one is installed: what people see, and what the page does not do."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from chromium import Chromium, find_chromium
from study_page_toys import DIVERGED, EVIL, FAILED, learn_weights, make_study

from flan_jax.studies.fits.choice import choose
from flan_jax.studies.page import law
from flan_jax.studies.page.page import PROGRAMS, write_study_report
from flan_jax.studies.page.results import read_results
from flan_jax.studies.proposals.clusters import cluster_laws
from flan_jax.studies.proposals.propose import propose
from flan_jax.studies.proposals.record import proposal_document, write_proposal

OBJECTIVE = "held_out/choice_probability"
SECTIONS = [
    "overview",
    "factors",
    "curves",
    "weights",
    "law",
    "proposal",
    "shares",
    "published",
    "runs",
    "methods",
    "files",
]


def quick(table, objective, *, progress):
    return choose(table, objective, families=("ridge_linear",), repeats=1, resamples=50, progress=progress)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed: the page is not rendered (FLAN_JAX_CHROMIUM names one)")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of a study with everything that one can show; one of its runs has a page."""
    root = tmp_path_factory.mktemp("pages") / "study"
    study = make_study(root)
    learn_weights(study, "run_0004")
    choice = quick(read_results(root).fitted, OBJECTIVE, progress=print)
    prior = choice.table.weights.mean(axis=0)
    proposal = propose(choice, prior, resamples=20)
    content = {**proposal_document(proposal, choice), "prior": "the mean of the runs"}
    clusters = dataclasses.replace(
        choice.table,
        scores={f"{OBJECTIVE}/c": choice.table.scores[OBJECTIVE]},
        higher_is_better={f"{OBJECTIVE}/c": True},
    )
    laws, _ = cluster_laws(choice, clusters, list(clusters.scores), prior=prior, mixtures=proposal.mixtures)
    content["clusters"] = [dataclasses.asdict(law) for law in laws]
    write_proposal(content, root / "proposal", runs=root / "proposal" / "runs")
    (root / "proposal" / "measured.csv").write_text(f"run,{OBJECTIVE}\nproposed,0.5\n")
    (root / "runs" / "run_0002" / "report.html").write_text("<title>run_0002</title><div id=report><p></p></div>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(law, "choose", quick)
        return write_study_report(root, root / "report.html")


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")


def choose_in(browser, name, value):
    """Chooses as people do: by the control's own event."""
    browser.run(
        f"(() => {{ const list = document.getElementById({json.dumps(f'pick-{name}')}); list.value = {json.dumps(value)};"
        "list.dispatchEvent(new Event('change')); })()"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_it_renders_without_an_error_or_a_request(browser, page, width, scheme):
    browser.size(width)
    browser.colors(scheme)
    browser.open(page)
    browser.wait("[...document.querySelectorAll('.plot')].every((box) => box.querySelector('svg'))")
    assert browser.errors() == []
    assert browser.requests() == [page.as_uri()]
    found = browser.run("[...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert [name for name in found if name] == SECTIONS
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('.plot svg').length") >= 12
    assert not browser.run("/NaN|undefined|null/.test(document.getElementById('report').innerHTML)")
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(246, 246, 243)"
    assert light == (scheme == "light")


def test_the_answer_stands_on_top_and_what_failed_below_it(browser, page):
    browser.size(1440)
    browser.open(page)
    assert texts(browser, "h1") == [f"toy {EVIL}"]
    (answer,) = texts(browser, ".score")
    best = max(read_results(page.parent).values.items(), key=lambda pair: pair[1])[0]
    for words in ("Best of 6 points", best, "95% interval", "12 degrees of freedom"):
        assert words in answer
    (callout,) = [text for text in texts(browser, ".callout") if "Runs without a result" in text]
    for words in (f"{FAILED} failed: the disk {EVIL} is gone", f"{DIVERGED} diverged", "pending: run_0020"):
        assert words in callout
    assert browser.run("document.querySelectorAll('#report script').length") == 0


def test_choices_of_measure_split_and_differences_draw_anew(browser, page):
    browser.open(page)
    assert browser.run("document.querySelectorAll('#factors svg [aria-label=bar] > *').length") == 5
    choose_in(browser, "factorSplit", "modes")
    browser.settle()
    assert texts(browser, "#factors .legend")[0] == "modes instructionsmodes no_template"
    browser.run("document.querySelector('#factors input[value=differences]').click()")
    browser.settle()
    assert browser.run("document.querySelectorAll('#factors svg [aria-label=bar] > *').length") == 0
    choose_in(browser, "factorMeasure", "held_out/brier")
    browser.settle()
    assert any("held_out/brier, difference to 1" in text for text in texts(browser, "#factors svg text"))
    assert browser.errors() == []


def test_runs_are_sorted_filtered_and_lead_to_their_pages(browser, page):
    browser.open(page)
    names, status = "#runs tbody th", "#runs [role=status]"
    assert texts(browser, status) == ["21 of 21 runs."]
    values = read_results(page.parent).values
    head = "[...document.querySelectorAll('#runs thead button')].find((b) => b.textContent === 'Objective')"
    browser.run(f"{head}.click()")
    ordered = sorted(values, key=lambda run: -values[run])
    assert texts(browser, names)[: len(ordered)] == ordered
    choose_in(browser, "level modes", "no_template")
    assert texts(browser, names)[0] == next(
        run for run in ordered if "no_template" in read_results(page.parent).levels[run]["modes"]
    )
    assert texts(browser, status) == ["12 of 21 runs."]
    choose_in(browser, "runState", "failed")
    assert texts(browser, names) == [FAILED]
    choose_in(browser, "runState", "*")
    choose_in(browser, "level modes", "*")
    browser.run(
        "(() => { const box = document.getElementById('run-search'); box.value = 'loss is NAN'; box.dispatchEvent(new Event('input')); })()"
    )
    assert texts(browser, names) == [DIVERGED]
    browser.run(
        "(() => { const box = document.getElementById('run-search'); box.value = ''; box.dispatchEvent(new Event('input')); })()"
    )
    links = browser.run("[...document.querySelectorAll('#runs tbody a')].map((a) => [a.textContent, a.href])")
    assert links == [["run_0002", (page.parent / "runs" / "run_0002" / "report.html").as_uri()]]
    assert browser.errors() == []


def test_links_lead_from_wherever_the_page_lies(browser, page, tmp_path, monkeypatch):
    monkeypatch.setattr(law, "choose", quick)
    shutil.copytree(page.parent, tmp_path / "study")
    elsewhere = write_study_report(tmp_path / "study", tmp_path / "pages" / "it.html")
    browser.open(elsewhere)
    assert (
        browser.run("document.querySelector('#runs tbody a').href")
        == (tmp_path / "study/runs/run_0002/report.html").as_uri()
    )


def test_a_level_without_a_result_is_no_zero(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(law, "choose", quick)
    study = make_study(tmp_path / "study")
    for plan in study.plans:
        if plan.levels["clusters"] == 3:
            shutil.rmtree(study.model_dir(plan.name), ignore_errors=True)
            (study.root / "records" / f"{plan.name}.json").unlink(missing_ok=True)
    browser.size(1440)
    browser.open(write_study_report(study.root, study.root / "report.html"))
    browser.settle()
    assert texts(browser, "#factors .block:first-child svg [aria-label=text] text")[-2:] == ["35.9", "48.3"]
    for section in ("curves", "published"):
        dots = browser.run(
            f"[...document.querySelectorAll('#{section} svg')][0].querySelectorAll('[aria-label=dot] circle').length"
        )
        assert dots == (2 if section == "curves" else 2 + 7)


def test_predicted_stands_beside_measured(browser, page):
    browser.open(page)
    rows = texts(browser, "#proposal table")[0]
    assert "proposed" in rows
    assert "50.0" in rows
    assert "not yet" in rows
    assert (
        browser.run("document.querySelectorAll('#law svg')[0].querySelectorAll('[aria-label=dot] circle').length") == 18
    )
    assert "Spearman" in texts(browser, "#law th")[1]
    assert "Clusters that it helps and hurts" in texts(browser, "#proposal h3")
    assert "Laws of clusters" in texts(browser, "#law h3")


def test_methods_are_text_to_copy(browser, page):
    browser.open(page)
    browser.run("document.querySelector('#methods button').click()")
    browser.settle()
    chosen = browser.run("getSelection().toString()")
    said = texts(browser, "#methods [role=status]")[0]
    assert said == "copied" or "8 steps of 4 rows" in chosen


def test_everything_has_a_name_for_a_screen_reader(browser, page):
    browser.open(page)
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


def test_choices_keep_the_focus(browser, page):
    browser.open(page)
    browser.run(
        "(() => { const one = document.querySelector('#weights input[value=best]'); one.focus(); one.click(); })()"
    )
    assert browser.run("document.activeElement.value") == "best"
    assert browser.errors() == []


def test_the_programs_load_nothing_and_parse_no_markup(page):
    assets = Path(law.__file__).parents[2] / "report" / "assets"
    ours = "".join((assets / name).read_text(encoding="utf-8") for name in PROGRAMS)
    for loading in ("http:", "https:", "url(", "@import", "innerHTML", "eval("):
        assert loading not in ours
    assert "alert('x')</script>" not in page.read_text(encoding="utf-8")
