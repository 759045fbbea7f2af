"""``flan-jax prepare``: what it says, and what its options do."""

import io
import json
import sys

import pytest

import mixtures  # noqa: F401  (registered before the fixture ``module`` notes what is registered)
from flan_jax.cli import console
from flan_jax.data.prepare.split_job import PreparedSplit

OWN_FILES = """
from flan_jax.data.sources.json_files import jsonl
from flan_jax.mixing.mixture import Entry, Mixture, register_mixture
from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Prompted, TaskSpec, Template

SPEC = register(TaskSpec(
    name="own_lines", cluster="own", source=jsonl(train="lines.jsonl"),
    fields=lambda record: {"text": record["text"], "answer": record["answer"]} if record["text"] else None,
    slots=("text", "answer"), templates=(Template("Repeat: {text}"), Template("{text} Again:")), predict="generate", metric="exact_match",
))
register_mixture("own_lines_mixture", lambda: Mixture("own_lines_mixture", (Entry(Prompted(SPEC)),), vocabulary="bytes"))
"""
TEXTS = ("short", "a text that is a good deal longer than the others", "small")


@pytest.fixture
def own(tmp_path, module):
    """A mixture over ``lines.jsonl``: the common arguments, and the file."""
    name = module(OWN_FILES, "own_files")
    lines = [json.dumps({"text": text, "answer": text}) for text in TEXTS]
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return [
        "prepare", "--module_import", name, "--mixture", "own_lines_mixture", "--store", str(tmp_path / "store"),
        "--data_dir", str(tmp_path), "--inputs", "32", "--targets", "32",
    ], path  # fmt: skip


@pytest.fixture(autouse=True)
def no_data_dir():
    yield
    from flan_jax.data.sources import base as sources

    sources.set_data_dir(None)


def test_the_summary_counts_everything(cli, own):
    arguments, path = own
    first = cli(*arguments)
    assert first.code == 0
    assert "1 split prepared, 0 there already: 3 examples" in first.out
    assert "Cut to length: 1 inputs and 1 targets (2 of 6 sides)." in first.out
    assert "0 splits prepared, 1 there already" in cli(*arguments).out
    dropped = cli(*arguments, "--too_long", "drop").out
    assert "2 examples" in dropped
    assert "Left out because a side is too long: 1 records." in dropped
    path.write_text(path.read_text() + "{\n")
    skipped = cli(*arguments, "--on_error", "skip").out
    assert "Left out because they cannot be read or rendered: 1 records." in skipped
    assert f"{path}, line 4: not valid JSON" in skipped
    assert "no examples" not in skipped
    path.write_text(path.read_text() + '{"text": null}\n')
    left_out = cli(*arguments, "--on_error", "skip").out
    assert "Left out because they are no examples of their task: 1 records.\n  own_lines_zs_opt train: 1\n" in left_out


def test_json_holds_the_counts_and_the_reasons(cli, own):
    arguments, path = own
    path.write_text(path.read_text() + "3\n")
    outcome = cli(*arguments, "--on_error", "skip", "--too_long", "drop", "--json")
    assert outcome.err == ""
    report = json.loads(outcome.out)
    assert {name: report[name] for name in ("written", "skipped", "damaged", "examples", "dropped", "unreadable")} == {
        "written": 1,
        "skipped": 0,
        "damaged": 0,
        "examples": 2,
        "dropped": 1,
        "unreadable": 1,
    }
    assert report["left_out"] == report["splits"][0]["left_out"] == 0
    assert report["splits"][0]["messages"] == [
        f"{path}, line 4: a record must be a JSON object, not int. Correct or remove the record."
    ]


def test_verify_prepares_again_what_is_damaged(cli, own, tmp_path):
    arguments, _ = own
    cli(*arguments)
    arrow = next((tmp_path / "store").rglob("*.arrow"))
    before = arrow.read_bytes()
    arrow.write_bytes(before.replace(b"short", b"shirt"))
    assert "1 split prepared (1 of them in place of damaged ones)" in cli(*arguments, "--verify").out
    assert arrow.read_bytes() == before
    assert "0 splits prepared, 1 there already" in cli(*arguments, "--verify").out


def test_a_bad_record_stops_by_default(refused, own, tmp_path):
    arguments, path = own
    path.write_text(path.read_text() + '{"text": "x"}\n')
    message = refused(*arguments)
    assert f"{path}, line 4" in message
    assert "KeyError: 'answer'" in message
    assert not list((tmp_path / "store").rglob("*.json"))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--on_error", "skp"], "Did you mean 'skip'?"),
        (["--too_long", "dropp"], "Did you mean 'drop'?"),
        (["--too_long", "fail"], "record 1: its inputs have"),
        (["--processes", "0"], "number of processes is 0"),
        (["--processes", "2", "--runner", "DirectRunner"], "exclude each other"),
        (["--runner_option", "a=b"], "Name one with --runner"),
        (["--runner", "DirectRuner"], "Did you mean 'DirectRunner'"),
        (["--inputs", "1"], "at least 2 tokens"),
        (
            ["--inputs", "3", "--targets", "3", "--too_long", "drop"],
            "3 are longer than the lengths inputs 3, targets 3",
        ),
        (["--data_dir", "nowhere"], "DATA_DIR is 'nowhere', which is not a folder"),
        (["--verfy"], "unrecognized arguments: --verfy"),
    ],
)
def test_wrong_arguments_are_one_sentence(refused, own, extra, message):
    arguments, _ = own
    if "DirectRuner" in extra:
        pytest.importorskip("apache_beam")
    assert message in refused(*arguments, *extra)


def test_a_beam_runner_makes_the_same_store(cli, own, tmp_path):
    pytest.importorskip("apache_beam")
    arguments, _ = own
    cli(*arguments)
    before = {file.name: file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file()}
    arguments[arguments.index("--store") + 1] = str(tmp_path / "other")
    outcome = cli(*arguments, "--runner", "DirectRunner", "--runner_option", "direct_num_workers=1")
    assert outcome.code == 0
    assert "1 split prepared" in outcome.out
    assert {file.name: file.read_bytes() for file in (tmp_path / "other").rglob("*") if file.is_file()} == before


def split(examples=10, skipped=False):
    return PreparedSplit("task", "train", "0", examples, 5 * examples, examples, 0, 0, 0, 0, (), skipped, False, 0.1)


def test_without_a_terminal_lines_come_every_few_seconds(capsys, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    progress = console.prepare_progress()
    for done in range(1, 1001):
        clock[0] += 0.02
        progress(done, 1000, split(skipped=done <= 500))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3  # 20 s, and the end is the summary's to tell
    assert lines[-1].startswith("prepare 7")
    assert "examples/s" in lines[-1]
    assert console.prepare_progress(quiet=True) is None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = console.prepare_progress()
    progress(1, 2, split())
    progress.close()  # as when an error follows: the message begins on a line of its own
    assert "1/2" in terminal.getvalue()
    assert "tokens/s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
