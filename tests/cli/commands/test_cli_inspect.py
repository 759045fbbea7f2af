"""``flan-jax inspect``: examples in every mode, what is what in them, and what it refuses."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

import mixtures  # noqa: F401  (registered before a test's own module is, and so still there after it)
from flan_jax.cli import ansi
from flan_jax.tasks.modes import PromptMode

GOLDEN = Path(__file__).parents[2] / "golden" / "inspect.txt"
IMPORT = ("--module_import", "own_inspected")
MODULE = r'''
import dataclasses
from flan_jax.data.sources.published import published
from flan_jax.data.sources.generated import generated
from flan_jax.mixing.mixture import Entry, Mixture, register_mixture
from flan_jax.tasks.catalog import register
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec, Template
from flan_jax.tasks.style import FLAN_2022, FewShot

HUES = ("red", "green")


def records(split):
    offset = {"train": 0, "validation": 100, "test": 200}[split]
    return [{"n": f"{offset + i}\x1b[5m" if i == 11 else str(offset + i), "hue": HUES[i % 2] if i % 5 else None,
             "why": f"{offset + i} is on a {HUES[i % 2]} door."} for i in range(24)]


def fields(record):
    """Every fifth record has no label."""
    return dict(record) if record["hue"] else None


DOORS = register(TaskSpec(
    name="own_doors", cluster="own_colours", collection="own", source=generated("own_doors", records, version=1),
    fields=fields, slots=("n", "hue", "why"), answer="hue", options=HUES, title="doors",
    templates=(Template("Door {n} is red or green?"), Template("{options}\n\nWhich colour has door {n}?"),
               Template("Name a {answer} door.", "{n}", inverted=True)),
    rationale="why", cot_templates=(Template("Reason about door {n}.", "{why} So it is {answer}"),),
))
FAR = register(dataclasses.replace(
    DOORS, name="own_far", source=published("somebody/doors", None, train="train", folders=("doors",)),
    rationale="", cot_templates=(),
))
register_mixture("own_views", lambda: Mixture("own_views", (
    Entry(Prompted(DOORS, PromptMode.FS_NOOPT, few_shot=FewShot(2))),
    Entry(Prompted(DOORS, style=FLAN_2022, template_ids=(1,), variant="listed")),
    Entry(Prompted(DOORS, PromptMode.COT_ZS_OPT)),
), vocabulary="bytes"))
'''


@pytest.fixture(autouse=True)
def own(module):
    from flan_jax.data.sources import published

    module(MODULE, "own_inspected")
    yield
    published.set_source_dir(None)


@pytest.fixture
def rows(cli):
    """Runs ``inspect --json``; its objects."""

    def run(*arguments):
        outcome = cli("inspect", *arguments, *IMPORT, "--json")
        assert outcome.code == 0, outcome.err
        return [json.loads(line) for line in outcome.out.splitlines()]

    return run


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_what_is_printed(cli):
    """In colour and without, few-shot, with tokens, and as a mixture has it."""
    commands = [
        ("own_doors", "-n", "2", "--color", "never"),
        ("own_doors", "-n", "1", "--mode", "fs_opt", "--shots", "2", "--color", "always", "--template", "1"),
        ("own_doors", "-n", "1", "--tokens", "--vocabulary", "mini", "--template", "1"),
        ("own_views", "-n", "3"),
    ]
    shown = "\n".join(
        f"$ inspect {' '.join(command)}\n" + cli("inspect", *command, *IMPORT).out for command in commands
    )
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", list(PromptMode))
def test_every_mode(rows, cli, mode):
    found = rows("own_doors", "--mode", mode, "-n", "5", "--vocabulary", "bytes")
    assert [row["example_id"] for row in found] == [1, 2, 3, 4, 6]  # 0 and 5 have no label
    assert [row["left_out"] for row in found] == [1, 1, 1, 1, 2]
    for row in found:
        assert (row["task"], row["spec"], row["mode"], row["split"]) == (
            f"own_doors_{mode}",
            "own_doors",
            mode,
            "train",
        )
        assert (row["collection"], row["cluster"]) == ("own", "own_colours")
        assert "".join(part["text"] for part in row["segments"]) == row["inputs"]
        kinds = {part["kind"] for part in row["segments"]}
        assert "n" in kinds or row["inverted"]
        assert bool(row["exemplars"]) == ("exemplars" in kinds) == mode.few_shot
        assert row["tokens"]["targets"] == [byte + 3 for byte in row["targets"].encode()]
    # Colours change nothing but colours.
    arguments = ("inspect", "own_doors", "--mode", mode, "-n", "3", *IMPORT)
    colors, without = (cli(*arguments, "--color", choice).out for choice in ("always", "never"))
    assert plain(colors).splitlines()[:-1] == without.splitlines()
    assert "Colours: " in colors
    assert "\x1b" not in without


def test_a_mixture_shows_its_tasks_as_it_has_them(rows):
    found = rows("own_views", "-n", "3")
    assert [row["task"] for row in found] == ["own_doors_fs_noopt", "own_doors_zs_opt_listed", "own_doors_cot_zs_opt"]
    assert [row["style"] for row in found] == ["flan2021", "flan2022", "flan2021"]
    assert len(found[0]["exemplars"]) == 2
    assert found[1]["template_id"] == 1
    assert [row["task"] for row in rows("own_views", "-n", "3", "--mode", "zs_noopt")] == ["own_doors_zs_noopt"] * 3


def test_one_task_of_a_mixture(rows, refused):
    shown = rows("own_views", "--task", "own_doors_zs_opt_listed", "-n", "1")
    assert [row["task"] for row in shown] == ["own_doors_zs_opt_listed"]
    assert len({row["task"] for row in rows("own_views", "--task", "own_doors", "-n", "9")}) == 3
    said = refused("inspect", "own_views", "--task", "own_dors", *IMPORT)
    assert "Did you mean 'own_doors'" in str(said)


def test_template_and_seed(rows):
    def drawn(*arguments):
        return [row["template_id"] for row in rows("own_doors", "-n", "12", *arguments)]

    assert drawn("--template", "2") == [2] * 12
    assert len(set(drawn())) == 3
    assert drawn("--seed", "1") == drawn("--seed", "1") != drawn()


def test_shots_and_their_templates(rows):
    def exemplars(*arguments):
        return [len(row["exemplars"]) for row in rows("own_doors", "--mode", "fs_opt", "-n", "8", *arguments)]

    assert exemplars() == [5] * 8
    assert exemplars("--shots", "3") == [3] * 8
    assert all(1 <= count <= 5 for count in exemplars("--exemplar_templates", "matching", "--shots", "5"))
    # Within 48 bytes there is room for one, at most.
    assert max(exemplars("--vocabulary", "bytes", "--inputs", "160")) < 5


def test_tokens(cli, rows):
    (row,) = rows("own_doors", "-n", "1", "--tokens", "--vocabulary", "mini", "--template", "1")
    assert [piece["id"] for piece in row["pieces"]["inputs"]] == row["tokens"]["inputs"]
    assert sum(piece["lost"] for piece in row["pieces"]["inputs"]) == row["inputs"].count("\n")
    shown = cli("inspect", "own_doors", "-n", "1", "--tokens", "--vocabulary", "mini", "--template", "1", *IMPORT).out
    assert "line ends lost" in shown
    assert "options│:│⏎│-│" in shown


def test_the_mixtures_vocabulary_is_used(cli):
    assert "as bytes reads them" in cli("inspect", "own_views", *IMPORT).out


def test_a_record_steers_no_terminal(cli):
    outcome = cli("inspect", "own_doors", "-n", "10", "--color", "always", *IMPORT)
    assert r"11\x1b[5m" in outcome.out
    assert "\x1b[5m" not in outcome.out


@pytest.mark.parametrize(
    ("choice", "terminal", "environment", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", False, {}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_when_there_is_colour(monkeypatch, choice, terminal, environment, expected):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert ansi.wants_color(choice) == expected


def test_a_split_of_other_records_only(cli, module):
    module(MODULE.replace('dict(record) if record["hue"] else None', "None"), "own_inspected")
    outcome = cli("inspect", "own_doors", *IMPORT)
    assert outcome.code == 0
    assert outcome.out == (
        "own_doors_zs_opt: 24 of the first 24 records of its split 'train' are no examples of it and are left out.\n\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("own_door",), "Did you mean 'own_doors'"),
        (("own_doors", "--mode", "fs_op"), "Did you mean 'fs_opt'"),
        (("own_doors", "--split", "tset"), "Did you mean 'test'"),
        (("own_doors", "--style", "flan2020"), "Did you mean 'flan2022' or 'flan2021'"),
        (("own_doors", "--mode", "fs_opt", "--exemplar_templates", "mix"), "Did you mean 'mixed'"),
        (("own_doors", "--template", "3"), "has the templates 0 to 2 in the mode 'zs_opt', and no template 3"),
        (("own_doors", "--template", "1", "--mode", "cot_zs_opt"), "has the templates 0 to 0"),
        (("own_far", "--mode", "cot_zs_opt"), "Task 'own_far' has no mode 'cot_zs_opt'. It has: zs_opt"),
        (("own_doors", "--shots", "2"), "belong to a mode with solved examples"),
        (("own_doors", "--mode", "fs_opt", "--shots", "0"), "at least one shot"),
        (("own_doors", "--tokens"), "--tokens needs a vocabulary"),
        (("own_doors", "-n", "0"), "-n 0 must be at least 1"),
        (("own_doors", "--source_dir", "nowhere"), "SOURCE_DIR is 'nowhere', which is not a folder"),
    ],
)
def test_what_it_refuses(refused, cli, arguments, expected):
    if not expected:
        assert cli("inspect", *arguments, *IMPORT).code == 0  # a folder that nothing is read from
        return
    assert expected in refused("inspect", *arguments, *IMPORT)


def test_published_data_that_are_not_here(refused, rows, monkeypatch, tmp_path):
    monkeypatch.delenv("FLAN_JAX_SOURCE_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = refused("inspect", "own_far", *IMPORT)
    assert "pip install datasets" in message
    assert "--source_dir (in it, doors/train.jsonl)" in message
    (tmp_path / "doors").mkdir()
    lines = [json.dumps({"n": "7", "hue": "red", "why": "so"}), "{"]
    (tmp_path / "doors" / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (row,) = rows("own_far", "-n", "1", "--source_dir", str(tmp_path))
    assert row["references"] == ["red"] or row["inverted"]
    assert "doors/train.jsonl, line 2: not valid JSON" in refused(
        "inspect", "own_far", "-n", "9", "--source_dir", str(tmp_path), *IMPORT
    )


def test_conversations(cli, module):
    name = module(
        """
        from flan_jax.data.prepare.conversations import ConversationTask
        from flan_jax.data.sources.generated import generated
        from flan_jax.mixing.mixture import Entry, Mixture, register_mixture

        TALK = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello you"}]}]
        TASK = ConversationTask("own_talk", generated("own_talk", lambda split: TALK, 1))
        register_mixture("own_talks", lambda: Mixture("own_talks", (Entry(TASK),), vocabulary="bytes"))
        """,
        "own_talks",
    )
    (row,) = [
        json.loads(line) for line in cli("inspect", "own_talks", "--module_import", name, "--json").out.splitlines()
    ]
    learnt = [part["text"] for part in row["segments"] if part["kind"] == "target"]
    assert len(learnt) == 1
    assert "Hello you" in learnt[0]
    assert "Hi" not in learnt[0]
    assert "text:    " in cli("inspect", "own_talks", "--module_import", name).out


def test_a_conversation_is_shown_behind_the_end_of_its_first_turn(cli, module):
    name = module(
        """
        from flan_jax.data.prepare.conversations import ConversationTask
        from flan_jax.data.sources.generated import generated
        from flan_jax.mixing.mixture import Entry, Mixture, register_mixture

        SAID = ("Hi", "Hello", "Bye", "See you")
        TALK = [{"messages": [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(SAID)]}]
        TASK = ConversationTask("own_turns", generated("own_turns", lambda split: TALK, 1), template="chatml")
        register_mixture("own_turns", lambda: Mixture("own_turns", (Entry(TASK),), vocabulary="bytes"))
        """,
        "own_turns",
    )
    row = json.loads(cli("inspect", "own_turns", "--module_import", name, "--json").out)
    assert row["targets"].count("⟨EOS⟩") == 4
    assert [part["text"].partition("⟨")[0] for part in row["segments"] if part["kind"] == "target"] == [
        "Hello",
        "See you",
    ]
    assert "Bye⟨EOS⟩" in row["targets"]
