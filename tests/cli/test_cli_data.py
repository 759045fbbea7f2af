"""``flan-jax data``: what instruction data holds."""

import json
from pathlib import Path

import pytest

from flan_jax.data import sources
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
    from flan_jax.data.formats import report

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
