import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_toys import EVIL, make_run

from flan_jax.errors import UserError
from flan_jax.report.page import LIBRARY, PROGRAMS, render_report, script_json, write_report
from flan_jax.report.run import read_runs

ASSETS = resources.files("flan_jax.report") / "assets"
HOSTILE = (
    EVIL,
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "a\u2028b\u2029c",
    "\ud800",
    "&lt;",
    "'\"`$data ${x}",
    "\x00\x1b",
)


class Page(html.parser.HTMLParser):
    """Scripts of a page, its attributes, and the data that it embeds."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.attributes, self.tags = [], [], []
        self.inside = None
        self.feed(text)
        self.data = json.loads(next(body for kind, body in self.scripts if kind == "application/json"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append([dict(attrs).get("type", ""), ""])
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1][1] += data


@given(
    st.recursive(
        st.text() | st.sampled_from(HOSTILE), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_script_element_reads_back_and_ends_nothing(content):
    text = script_json(content)
    assert json.loads(text) == content
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff\x00-\x1f]", text)


def test_what_models_say_is_data_and_no_markup(tmp_path):
    folder = make_run(tmp_path / "r")
    path = folder / "eval" / "100" / "predictions" / "write.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, text in zip(rows, HOSTILE, strict=False):
        row.update(prediction=text, inputs=text)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = render_report([folder])
    page = Page(written)
    assert len(page.scripts) == 3
    assert written.count("<script") == written.count("</script>") == 3
    found = {row["answers"][1]["text"] for row in page.data["examples"]["write"]["rows"]}
    assert found == set(HOSTILE[: len(rows)])
    written.encode("utf-8")


def test_names_of_runs_and_tasks_are_escaped_outside_of_scripts(tmp_path):
    folder = make_run(tmp_path / "run <b>$title &amp;", evil=EVIL)
    written = render_report([folder])
    assert "<title>run &lt;b&gt;$title &amp;amp; · flan_jax</title>" in written
    assert "alert('x')</script>" not in written
    assert "b" not in Page(written).tags


def test_the_page_may_run_its_own_two_programs_and_load_nothing(tmp_path):
    page = Page(render_report([make_run(tmp_path / "r")]))
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    programs = [body for kind, body in page.scripts if not kind]
    digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in programs]
    assert (
        policy
        == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'"
    )
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "onload", "onclick"} & {name for name, _ in page.attributes}
    ours = "".join(ASSETS.joinpath(name).read_text(encoding="utf-8") for name in (*PROGRAMS, "report.css", "page.html"))
    for loading in ("http:", "https:", "url(", "@import", "innerHTML", "eval("):
        assert loading not in ours
    live = Page(render_report([tmp_path / "r"], live=True))
    assert live.data["live"] is True
    assert any(name == "content" and (value or "").endswith("; connect-src 'self'") for name, value in live.attributes)


def test_the_bundle_is_what_its_record_says_and_comes_with_its_licenses():
    record = json.loads(ASSETS.joinpath("plot.json").read_text(encoding="utf-8"))
    bundle = ASSETS.joinpath(LIBRARY).read_bytes()
    assert hashlib.sha256(bundle).hexdigest() == record["sha256"]
    licenses = ASSETS.joinpath("plot.LICENSE.txt").read_text(encoding="utf-8")
    for name, package in record["packages"].items():
        assert f"{name} {package['version']} ({package['license']})" in licenses
    assert {package["license"] for package in record["packages"].values()} <= {"ISC", "MIT", "BSD-3-Clause"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_javascript(name):
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    with resources.as_file(ASSETS.joinpath(name)) as path:
        done = subprocess.run(["node", "--check", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_javascript_the_page_has_the_table(tmp_path):
    written = render_report([make_run(tmp_path / "r")])
    fallback = written[written.index("<noscript>") : written.index("</noscript>")]
    assert "mean of 2 tasks" in fallback
    assert "clusters held out of training" in fallback


def test_runs_of_one_folder_name_are_told_apart(tmp_path):
    folders = [make_run(tmp_path / parent / "run") for parent in "ab"]
    assert [run["name"] for run in Page(render_report(folders)).data["runs"]] == ["a/run", "b/run"]


@pytest.mark.parametrize(
    ("remove", "named"),
    [
        ("config.gin", "config.gin is missing"),
        ("manifest.json", "manifest.json is missing"),
        ("metrics.jsonl", "metrics.jsonl is missing"),
        ("model-info.txt", "model-info.txt is missing"),
        ("eval/100/predictions/topic.jsonl", "topic.jsonl is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path, remove, named):
    folder = make_run(tmp_path / "r")
    assert Page(render_report([folder])).data["runs"][0]["missing"] == []
    (folder / remove).unlink()
    missing = Page(render_report([folder])).data["runs"][0]["missing"]
    assert len(missing) == 1
    assert named in missing[0]


@pytest.mark.parametrize(
    ("damage", "content", "named"),
    [
        ("manifest.json", b"{", "manifest.json is not JSON"),
        ("manifest.json", b'{"tasks": [1], "suites": 3, "versions": "x", "held_out_clusters": 5, "code": 1}', ""),
        ("manifest.json", b'{"tasks": {"topic": 1}, "suites": {"held_in": [1]}, "hardware": []}', ""),
        ("metrics.jsonl", b'{"step": 1, "loss": NaN}\n{"step": 2, "loss": 1.0}\n{"ste', "1 damaged line"),
        ("metrics.jsonl", b'{"step": 1}\n[]\n7\n', "2 damaged line"),
        ("metrics.jsonl", b'{"step": 1, "loss": "x", "task_loss": 3, "task_share": {"topic": "y"}, "sampled": 1}', ""),
        ("model-info.txt", b"\xff", "model-info.txt cannot be read"),
        ("eval/100/results.json", b"{}", "is not a results file"),
        ("eval/100/predictions/topic.jsonl", b"{}", "line 1 is not a prediction"),
        ("eval/100/predictions/topic.jsonl", b"\xff\xfe", "topic"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_shown(tmp_path, damage, content, named):
    folder = make_run(tmp_path / "r")
    (folder / damage).write_bytes(content)
    run = Page(render_report([folder])).data["runs"][0]
    assert any(named in line for line in [*run["missing"], ""])
    assert run["suites"]


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path):
    data = Page(render_report([tmp_path])).data
    for name in ("config.gin", "manifest.json", "metrics.jsonl", "model-info.txt", "no results under eval/"):
        assert any(name in line for line in data["runs"][0]["missing"])
    assert data["runs"][0]["headline"] is None


def test_write_report_writes_the_page(tmp_path):
    folder = make_run(tmp_path / "r")
    output = write_report([folder], tmp_path / "pages" / "report.html")
    assert output.read_text(encoding="utf-8") == render_report([folder])
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]
    assert output.stat().st_size < 450_000
    with pytest.raises(UserError, match="cannot be written"):
        write_report([folder], folder / "config.gin" / "report.html")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UserError, match="There is no run folder"):
        render_report([tmp_path / "nothing"])
    with pytest.raises(UserError, match="at least one run folder"):
        read_runs([])


def test_runs_measured_with_other_settings_are_marked(tmp_path):
    few, all_ = ({"max_examples": most, "seed": most} for most in (3, 0))
    one, other = make_run(tmp_path / "one", settings=few), make_run(tmp_path / "other", settings=all_)
    notes = Page(render_report([one, other])).data["notes"]
    assert "held_in of other was measured with other settings than of one: max_examples: 3 → 0" in notes
    same = make_run(tmp_path / "same", settings={**few, "seed": 7})
    assert Page(render_report([one, same])).data["notes"] == []
