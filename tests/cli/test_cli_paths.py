"""Every argument that names a place is checked alike, before any work: one sentence, exit code 2, nothing written."""

import argparse
import os

import pytest

from flan_jax.cli.main import build_parser
from flan_jax.cli.paths import local_paths

HERE = "PLACE"
COMMANDS = {
    "import-hf SRC": ("import-hf", HERE, "new"),
    "import-hf DST": ("import-hf", "owner/name", HERE),
    "export-hf MODEL_DIR": ("export-hf", HERE, "new"),
    "export-hf DST": ("export-hf", "run", HERE),
    "report model_dir": ("report", HERE),
    "report --output": ("report", "run", "--output", HERE),
    "rates mixture": ("rates", HERE),
    "rates --store": ("rates", "mini", "--store", HERE),
    "audit mixture": ("audit", HERE),
    "audit --templates": ("audit", "mini", "--templates", HERE),
    "inspect name": ("inspect", HERE),
    "inspect --vocabulary": ("inspect", "mini", "--vocabulary", HERE),
    "inspect --source_dir": ("inspect", "mini", "--source_dir", HERE),
    "data PATH_OR_HUB": ("data", HERE),
    "data --data_dir": ("data", "x", "--data_dir", HERE),
    "prepare --mixture": ("prepare", "--mixture", HERE, "--store", "store"),
    "prepare --store": ("prepare", "--mixture", "mini", "--store", HERE),
    "prepare --chat_template": ("prepare", "--mixture", "mini", "--store", "store", "--chat_template", HERE),
    "quickstart --model_dir": ("quickstart", "--model_dir", HERE),
    "train --gin_file": ("train", "--gin_file", HERE),
    "train --mirror": ("train", "--gin_file", "x", "--mirror", HERE),
    "train --gin_search_paths": ("train", "--gin_search_paths", f".,{HERE}"),
    "eval --model_dir": ("eval", "--model_dir", HERE),
    "generate --model_dir": ("generate", "--model_dir", HERE, "text"),
    "generate --adapter": ("generate", "--model_dir", "run", "--adapter", HERE, "text"),
    "generate --chat_template": ("generate", "--model_dir", "run", "--chat_template", HERE, "text"),
}
WRONG = {
    "a\0b": "no path may have these",
    "caf\udce9": "no path may have these",
    "a\\b": "no backslash",
    "file:///x": "Write it without 'file://'",
    "x" * 300: "a name of 300 bytes",
    "x/" * 3000: "at most 4,095",
    "~nobody_is_called_so/x": "no home folder",
}
"""A place and what is said of it."""
ADDRESSES = (
    "prepare --store",
    "rates --store",
    "report model_dir",
    "train --mirror",
    "export-hf MODEL_DIR",
    "eval --model_dir",
    "generate --model_dir",
)


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def put(command, place):
    return [part.replace(HERE, place) for part in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_that_none_can_be_is_refused_by_the_argument_s_name(command, refused):
    for place, words in WRONG.items():
        message = refused(*put(command, place))
        assert words in message
        assert f"argument {command.split()[1]}: " in message
    if command not in ADDRESSES:
        assert "can be addresses" in refused(*put(command, "gs://bucket/x"))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name.split()[1][0] != "-" or name in ADDRESSES[:1]])
def test_a_place_that_must_be_named_is_not_empty(command, refused):
    assert "it is empty" in refused(*put(command, ""))


@pytest.mark.parametrize(
    "command",
    [
        "import-hf DST",
        "export-hf MODEL_DIR",
        "report --output",
        "prepare --store",
        "eval --model_dir",
        "data --data_dir",
    ],
)
def test_a_tilde_is_the_home_folder(command, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/mine")
    parsed = vars(build_parser().parse_args(put(command, "~/x")))
    assert "/home/of/mine/x" in parsed.values()


def test_an_address_is_a_store_and_searched_folders_are_several(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/mine")
    parsed = build_parser().parse_args(put("prepare --store", "gs://bucket/store"))
    assert parsed.store == "gs://bucket/store"
    assert local_paths("a, ~/b") == "a,/home/of/mine/b"


def test_every_argument_that_names_a_place_is_checked():
    """Found by its name, so that a new command's is not forgotten."""
    parser = build_parser()
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    places = (
        "dir",
        "store",
        "output",
        "source",
        "destination",
        "adapter",
        "templates",
        "gin_file",
        "place",
        "vocabulary",
    )
    found = [
        (name, action.dest)
        for name, command in subparsers.choices.items()
        for action in command._actions
        if any(word in action.dest for word in places) and action.type is None and action.nargs != 0
    ]
    # A choice of three words, a folder of other machines, and numbers.
    assert found == [
        ("inspect", "exemplar_templates"),
        ("launch", "option_workdir"),
        ("eval", "templates"),
        ("compare", "templates"),
    ]


@pytest.mark.parametrize("command", ["import-hf", "export-hf"])
def test_the_folder_that_one_is_in_is_not_replaced(command, refused, tmp_path_factory, monkeypatch):
    run = tmp_path_factory.mktemp("run")
    (run / "checkpoints").mkdir()
    for here in (".", os.getcwd()):
        assert "is the folder that you are in" in refused(command, str(run), here)


@pytest.mark.parametrize("command", ["import-hf", "export-hf"])
def test_a_destination_that_is_there_is_named_before_any_work(command, refused, tmp_path_factory, monkeypatch):
    monkeypatch.setattr("flan_jax.data.sources.hub_models._snapshot", None)  # nothing may be fetched
    other = tmp_path_factory.mktemp("other")
    (other / "checkpoints").mkdir()
    (other / "file").write_text("x")
    (other / "link").symlink_to("nowhere")
    source = "owner/name" if command == "import-hf" else str(other)
    for name in ("", "file", "link"):
        assert "exists. Name a folder that does not" in refused(command, source, str(other / name))
    assert (other / "file").read_text() == "x"
    assert "cannot be made in" in refused(command, source, str(other / "file" / "below"))
