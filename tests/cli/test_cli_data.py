"""``flan-jax data``: what instruction data holds."""

import json
from pathlib import Path

import pytest

from flan_jax.data.sources import base as sources
from flan_jax.errors import UserError


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_chosen_data_dir", None)
    path = tmp_path / "d.jsonl"
    records = [
        {"instruction": f"Do {n}.", "input": "", "output": text}
        for n, text in enumerate(["a", "", "As an AI, I do not."])
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in [*records, records[0]]) + "{\n")
    return path


def test_the_report_for_people(cli, file):
    outcome = cli("data", str(file))
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        str(file),
        "  format      alpaca (instruction)",
        "  records     5 → 3 examples",
        "  left out    empty 1",
        "  unreadable  1",
        f"    {file}, line 5: not valid JSON (Expecting property name enclosed in double quotes, column 2). "
        "Correct or remove the record.",
    ]


def test_the_report_for_programs_with_other_steps(cli, file):
    outcome = cli("data", str(file), "--clean", "refused", "--clean", "duplicates", "--json")
    report = json.loads(outcome.out)
    assert report["left_out"] == {"placeholders": 0, "empty": 1, "refused": 1, "duplicates": 1}
    assert (report["records"], report["examples"], report["unreadable"]) == (5, 1, 1)
    assert json.loads(cli("data", str(file), "--no-clean", "all", "--json").out)["examples"] == 4


def test_a_name_of_the_hub_may_begin_as_a_mixture_s_does(refused, monkeypatch):
    from flan_jax.data.instructions import report

    def asked(place, *arguments, **options):
        raise UserError(place)

    monkeypatch.setattr(report, "data_report", asked)
    assert refused("data", "hf:owner/name") == refused("data", "owner/name")


def test_conversations_are_counted(cli, tmp_path):
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "c.json").write_text(json.dumps([{"messages": said}]))
    out = cli("data", "c.json", "--data_dir", str(tmp_path)).out
    sources.set_data_dir(None)
    assert "1 → 1 conversations with 2 messages, 1 of them the assistant's" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.jsonl",), "'none.jsonl' does not exist"),
        (("FILE", "--format", "alpac"), "Unknown record format 'alpac'. Did you mean 'alpaca'"),
        (("FILE", "--clean", "emty"), "Unknown cleaning step 'emty'. Did you mean 'empty'"),
        (("FILE", "--no-clean", "emty"), "Unknown cleaning step 'emty'. Did you mean 'empty'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(refused, file, arguments, said):
    assert said in refused("data", *(str(file) if argument == "FILE" else argument for argument in arguments))


def test_an_unknown_format_says_what_is_lacking(refused, tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"instruction": "x", "answer": "y"}\n')
    assert "The nearest is" in refused("data", str(path))
    assert "lacks 'output'" in refused("data", str(path))


def test_the_benchmark_is_told_by_its_folders(cli):
    fixtures = Path(__file__).parents[1] / "data" / "fixtures" / "superni"
    assert "4 files: 4 records" in cli("data", str(fixtures)).out


def test_what_a_vocabulary_cannot_say_is_counted(cli, refused, file):
    assert "  unknown     0 ids in 0 texts of the targets\n" in cli("data", str(file), "--vocabulary", "bytes").out
    assert "Unknown vocabulary 'bites'. Did you mean 'bytes'" in refused("data", str(file), "--vocabulary", "bites")


def write(path, *records):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def alpaca(n):
    return {"instruction": f"Do {n}.", "input": "", "output": f"Done {n}."}


def test_what_is_measured_and_what_is_not_used_is_said(cli, tmp_path):
    write(tmp_path / "d/train.jsonl", alpaca(1), alpaca(2))
    write(tmp_path / "d/eval.jsonl", alpaca(3))
    write(tmp_path / "d/extra.jsonl", alpaca(4))
    (tmp_path / "d/notes.txt").write_text("x")
    outcome = cli("data", str(tmp_path / "d"))
    assert outcome.code == 0
    assert "  split       test: measured, not trained on" in outcome.out
    not_used = [
        f"{tmp_path / 'd'}: not used: extra.jsonl: its name says no split, and train.jsonl is what is trained on",
        f"{tmp_path / 'd'}: not used: notes.txt: its ending '.txt' is none of a file of records",
    ]
    assert outcome.err.splitlines() == not_used
    report = json.loads(cli("data", str(tmp_path / "d"), "--json").out)
    assert report["notes"] == not_used
    assert [(file["split"], file["usable"]) for file in report["files"]] == [("train", 2), ("test", 1)]
    prepared = cli(
        *("prepare", "--mixture", str(tmp_path / "d"), "--store", str(tmp_path / "store")),
        *("--vocabulary", "bytes", "--processes", "1", "--json"),
    )
    assert json.loads(prepared.out)["notes"] == prepared.err.splitlines() == not_used
    assert {split["split"] for split in json.loads(prepared.out)["splits"]} == {"train", "validation", "test"}


def test_it_judges_what_prepare_will_judge(cli, refused, tmp_path):
    said = [
        {"role": "assistant", "content": "Welcome!"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]
    path = tmp_path / "c.jsonl"
    write(path, {"messages": said})
    assert "of 1 records to train on none can be used" in refused("data", str(path))
    assert f"{path}, line 1: the assistant speaks before any user does" in cli("data", str(path)).out
    prepare = ("prepare", "--mixture", str(path), "--vocabulary", "bytes", "--processes", "1", "--store")
    assert "the assistant speaks before any user does" in refused(*prepare, str(tmp_path / "store"))
    for opening, replies in (("drop", 1), ("keep", 1)):
        report = json.loads(cli("data", str(path), "--opening", opening, "--json").out)
        assert (report["usable"], report["unreadable"]) == (replies, 0)
        assert cli(*prepare, str(tmp_path / opening), "--opening", opening).code == 0
    assert "is about conversations" in refused("data", str(write_one(tmp_path)), "--opening", "keep")


def write_one(folder):
    write(folder / "one.jsonl", alpaca(1))
    return folder / "one.jsonl"


def test_the_options_belong_to_every_command_that_reads_a_path(cli, refused, tmp_path):
    path = tmp_path / "d.jsonl"
    write(path, alpaca(1), alpaca(1), {**alpaca(2), "output": "I must decline."})
    store = ("--store", str(tmp_path / "store"), "--vocabulary", "bytes", "--processes", "1", "--json")
    options = ("--format", "alpaca", "--clean", "duplicates,refused")

    def trained(*arguments):
        report = json.loads(cli("prepare", "--mixture", str(path), *store, *arguments).out)
        return [split["examples"] for split in report["splits"] if split["split"] == "train"], report["written"]

    assert trained(*options, "--no_clean", "empty") == ([1], 1)
    assert trained()[0] == [2]  # of three, one validates
    assert trained(*options, "--no-clean", "empty") == ([1], 0)  # another fingerprint, found again
    assert json.loads(cli("rates", str(path), *options, "--json").out)["total"]["examples"] == 1
    assert cli("inspect", str(path), *options, "-n", "1").code == 0
    assert "measures nothing" in refused("audit", str(path), *options)
    assert "Did you mean 'alpaca'" in refused("rates", str(path), "--format", "alpac")
    assert "Did you mean 'duplicates'" in refused("inspect", str(path), "--clean", "duplicate")
    assert "to be taken and not to be taken" in refused("rates", str(path), "--clean", "empty", "--no_clean", "empty")
    assert "--format alpaca says how the instruction data of a path is read, and 'mini' is" in refused(
        "rates", "mini", "--format", "alpaca"
    )


def test_nothing_that_is_read_steers_a_terminal(cli, refused, tmp_path):
    evil = "a\x1b[31m\x07\u202eb\u2066\x9b\u2028c"
    folder = tmp_path / f"d{evil}"
    write(folder / f"t\n{evil}.jsonl", {**alpaca(1), "output": evil}, {**alpaca(2), "output": evil}, {"instruction": 3})
    write(folder / f"x{evil}.txt", alpaca(1))
    outputs = [cli("data", str(folder)), cli("data", str(folder), "--json"), cli("inspect", str(folder), "-n", "1")]
    outputs += [cli("inspect", str(folder), "-n", "1", "--json"), cli("rates", str(folder))]
    write(tmp_path / "bad.jsonl", {evil: 1, "instruction": "x"})
    outputs += [cli("data", str(tmp_path / "bad.jsonl")), cli("data", f"{evil}.jsonl"), cli("rates", evil)]
    for outcome in outputs:
        shown = outcome.out + outcome.err
        assert not [mark for mark in shown if mark in "\x1b\x07\u202e\u2066\x9b\u2028\r"]
        assert "\\x1b[31m\\x07\\u202e" in shown or "\\u001b[31m\\u0007\\u202e" in shown
    assert json.loads(outputs[3].out)["targets"] == evil
    (file,) = json.loads(outputs[1].out)["files"]
    assert file["place"] == str(folder / f"t\n{evil}.jsonl")


def test_a_name_that_is_no_text_is_shown(cli, tmp_path):
    import os

    path = os.fsencode(tmp_path) + b"/d\xff.jsonl"
    with open(path, "w") as file:
        file.write(json.dumps(alpaca(1)))
    assert "\\udcff.jsonl" in cli("data", str(tmp_path)).out
    assert json.loads(cli("data", str(tmp_path), "--json").out)["files"][0]["place"] == os.fsdecode(path)
    named = cli("data", os.fsdecode(path))  # an argument is a text: its folder can be named
    assert named.code == 2
    assert "\\udcff" in named.err
