"""Instruction data as a source: files, folders, splits, places, damage; nothing in data is a template."""

import gzip
import itertools
import json

import pytest

from flan_jax.data.formats import Cleaning, oasst
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions import data_report, instruction_source
from flan_jax.data.sources import base as sources
from flan_jax.errors import RecordError, UserError
from flan_jax.tasks.spec import Source
from flan_jax.testing.records import good_records

HOSTILE = (
    "{answer}",
    "{{7*7}}",
    "{__class__}",
    "{0.__init__.__globals__}",
    "%s %(x)s",
    "${x}",
    "{% raw %}",
    "{",
    "}",
    "\\1",
)


def alpaca(number, output="", **rest):
    return {"instruction": f"Do {number}.", "input": "", "output": output or f"Done {number}.", **rest}


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "data.jsonl", [alpaca(number) for number in range(50)])


def outputs(source, split="train", errors=None):
    records = source.records(split) if errors is None else good_records(source, split, errors)
    return [record["output"] for record in records]


def test_a_file_keeps_a_tenth_to_validate_on(file):
    source = instruction_source(file)
    assert isinstance(source, Source)
    assert source.splits == ("train", "validation")
    train, validation = outputs(source), outputs(source, "validation")
    assert len(train) == source.count("train") == 45
    assert len(validation) == source.count("validation") == 5
    whole = [f"Done {number}." for number in range(50)]
    assert sorted(train + validation) == sorted(whole)
    assert train == [text for text in whole if text in train]  # the file's order
    assert outputs(instruction_source(file, max_validation=3), "validation") == [
        t for t in validation if t in outputs(instruction_source(file, max_validation=3), "validation")
    ]
    assert instruction_source(file, max_validation=3).count("validation") == 3
    assert instruction_source(file, max_validation=0).splits == ("train",)
    assert any(outputs(instruction_source(file, seed=seed), "validation") != validation for seed in (1, 2))
    with pytest.raises(UserError, match=r"has no split 'test'. It has: train, validation."):
        list(source.records("test"))


def test_what_is_asked_twice_is_on_one_side(tmp_path):
    records = [{"instruction": f"Do {number % 20}.", "input": "", "output": str(number)} for number in range(60)]
    for seed in range(10):
        source = instruction_source(write(tmp_path / f"{seed}.jsonl", records), seed=seed)
        sides = [{record["instruction"] for record in source.records(split)} for split in source.splits]
        assert not sides[0] & sides[1]
        assert source.count("validation") == 6
        assert source.count("train") == 54


def test_the_instances_of_an_instruction_are_on_one_side(tmp_path):
    records = [
        {
            "instruction": f"Do {n}.",
            "instances": [{"input": str(i), "output": f"{n} {i}"} for i in range(3)],
            "name": "x",
        }
        for n in range(20)
    ]
    source = instruction_source(write(tmp_path / "seed.jsonl", records))
    sides = [{record["instruction"] for record in source.records(split)} for split in source.splits]
    assert [len(side) for side in sides] == [18, 2]
    assert not sides[0] & sides[1]


def test_a_folder_has_its_own_splits(tmp_path):
    write(tmp_path / "d/train.jsonl", [alpaca(number) for number in range(20)])
    write(tmp_path / "d/dev.jsonl", [alpaca(100)])
    write(tmp_path / "d/test.jsonl", [alpaca(200)])
    source = instruction_source(tmp_path / "d")
    assert source.splits == ("train", "validation", "test")
    assert [source.count(split) for split in source.splits] == [20, 1, 1]
    assert outputs(source, "validation") == ["Done 100."]
    write(tmp_path / "d/valid.jsonl", [alpaca(100)])
    with pytest.raises(UserError, match=r"two files for 'validation': dev\.jsonl and valid\.jsonl"):
        list(source.records("train"))


def test_relative_paths_start_at_the_data_folder(file):
    sources.set_data_dir(file.parent)
    assert instruction_source("data.jsonl").count("train") == 45
    with pytest.raises(UserError, match="does not exist"):
        list(instruction_source("other.jsonl").records("train"))
    empty = file.parent / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no file of records"):
        list(instruction_source(empty).records("train"))


@pytest.mark.parametrize("name", ["d.json", "lines.json", "d.jsonl.gz", "d.json.gz", "d.parquet"])
def test_files_may_be_written_in_several_ways(tmp_path, name):
    records = [alpaca(number) for number in range(12)]
    path = tmp_path / name
    lines = "".join(json.dumps(record) + "\n" for record in records)
    if name.endswith("parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress((lines if "jsonl" in name else json.dumps(records)).encode()))
    else:
        path.write_text(lines if "lines" in name else json.dumps(records))
    source = instruction_source(path, max_validation=0)
    assert outputs(source) == [record["output"] for record in records]
    assert source.known_format.name == "alpaca"


DAMAGED = [
    (b'{"instruction": "x"', "not valid JSON"),
    (b'{"instruction": "\xff", "input": "", "output": "y"}', "not UTF-8 text (byte 18"),
    (b'{"instruction": "a\\u0000b", "input": "", "output": "y"}', "NUL character"),
    (b'{"instruction": "\\ud83d", "input": "", "output": "y"}', "not valid Unicode"),
    (b"\0\0\0", "not valid JSON"),
    (b'["a"]', "must be a JSON object, not list"),
    (b"null", "must be a JSON object, not NoneType"),
    (b'{"instruction": "x", "input": ""}', "'output' is missing"),
    (b'{"instruction": "x", "input": "", "output": null}', "'output' is null"),
    (b'{"instruction": "x", "input": [null], "output": "y"}', "'input' must be a text, not list"),
    (b'{"instruction": {"a": {"b": null}}, "input": "", "output": "y"}', "'instruction' must be a text, not dict"),
    (b'{"instruction": "x", "input": "", "output": ["y", null]}', "'output[1]' must be a text"),
    (b"[" * 200_000, "cannot be read"),
]


@pytest.mark.parametrize(("line", "said"), DAMAGED)
def test_a_damaged_record_is_told_by_file_and_line_and_harms_no_other(tmp_path, line, said):
    records = [alpaca(number) for number in range(12)]
    path = write(tmp_path / "d.jsonl", [*records[:6], line, b"   ", *records[6:]])
    source = instruction_source(path)
    told = []
    train, validation = outputs(source, "train", told), outputs(source, "validation")
    assert sorted(train + validation) == sorted(record["output"] for record in records)
    assert len(told) == 1
    assert str(told[0]).startswith(f"{path}, line 7: ")
    assert said in str(told[0])
    assert source.count("train") == len(train) + 1
    with pytest.raises(UserError, match="line 7"):
        outputs(source)
    report = data_report(path)
    assert report.total("unreadable") == 1
    assert report.files[0].reasons == tuple(map(str, told))


def test_a_list_keeps_its_other_records_where_one_is_not_utf8(tmp_path):
    path = tmp_path / "d.json"
    path.write_bytes(json.dumps([alpaca(1), alpaca(2), alpaca(3)]).encode().replace(b"Done 2", b"Done \xff"))
    told = []
    assert outputs(instruction_source(path, max_validation=0), "train", told) == ["Done 1.", "Done 3."]
    assert f"{path}, record 1: 'output' is not valid Unicode" in str(told[0])


def test_a_file_that_is_damaged_as_a_whole_is_told(tmp_path):
    (tmp_path / "cut.json").write_text('[{"instruction": "a", "input": "", "output": "b"},\n {"instr')
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 5000)[:-40])
    (tmp_path / "no.parquet").write_bytes(b"PAR1 and nothing more")
    (tmp_path / "text.json").write_text('"hello"')
    (tmp_path / "empty.jsonl").write_text("")
    said = {
        "cut.json": "line 2: not valid JSON",
        "cut.jsonl.gz": "the file is damaged",
        "no.parquet": "not readable as Parquet",
        "text.json": "holds str, neither a list of records nor one",
        "empty.jsonl": "there is no record to tell the format by",
    }
    for name, words in said.items():
        with pytest.raises(UserError, match=words) as error:
            instruction_source(tmp_path / name, "flan_dump" if "gz" in name else "auto").profile()
        assert str(tmp_path / name) in str(error.value)


def test_ten_megabytes_in_a_record(tmp_path):
    big = "word " * 2_000_000
    path = write(tmp_path / "d.jsonl", [alpaca(1), alpaca(2, big), {"conversations": [big]}, alpaca(3)])
    source = instruction_source(path, "alpaca", cleaning=Cleaning(("empty", "refused", "duplicates")), max_validation=0)
    told = []
    assert [len(text) for text in outputs(source, "train", told)] == [7, 10_000_000, 7]
    assert len(str(told[0])) < 300


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text(tmp_path, text):
    records = [alpaca(text, text), alpaca(2)]
    source = instruction_source(write(tmp_path / "d.jsonl", records), max_validation=0)
    assert outputs(source) == [text, "Done 2."]
    assert next(iter(source.records("train")))["instruction"] == f"Do {text}."


def test_place_and_order_agree(tmp_path):
    records = [alpaca(number) for number in range(20)]
    path = write(tmp_path / "d.jsonl", [b"{", *records[:5], b"\xff", *records[5:]])
    source = instruction_source(path)
    for split in source.splits:
        told = []
        lines = path.read_bytes().splitlines()
        for record in good_records(source, split, told):
            assert any(record["output"].encode() in line for line in lines)
        places = [source.place(split, index) for index in range(source.count(split))]
        numbers = [int(place.rpartition(" ")[2]) for place in places]
        assert numbers == sorted(set(numbers))
        assert all(place.startswith(f"{path}, line ") for place in places)
        readable = [number for number in numbers if number not in (1, 7)]
        assert [json.loads(lines[number - 1])["output"] for number in readable] == outputs(source, split, told)
        assert len(told) == 2 * (2 if split == "train" else 0)


def test_fingerprints_change_with_content_format_cleaning_and_split(tmp_path, file):
    source = instruction_source(file)
    kinds = [
        source,
        instruction_source(file, "evol_instruct"),
        instruction_source(file, cleaning=Cleaning(("empty", "duplicates"))),
        instruction_source(file, cleaning=Cleaning(("empty", "refused"))),
        instruction_source(file, cleaning=Cleaning(("empty", "refused"), phrases=("no",))),
        instruction_source(file, cleaning=Cleaning(("placeholders", "empty"))),
        instruction_source(file, clean=("refused",)),
        instruction_source(file, no_clean=("empty",)),
        instruction_source(file, seed=1),
        instruction_source(file, max_validation=2),
    ]
    found = [kind.fingerprint("train") for kind in kinds] + [source.fingerprint("validation")]
    assert len(set(found)) == len(found)
    own = Cleaning(("placeholders", "empty"), certain_only=True)
    assert instruction_source(file, "alpaca", cleaning=own).fingerprint("train") == found[0]
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(file.read_bytes())
    assert instruction_source(moved).fingerprint("train") == found[0]
    moved.write_bytes(file.read_bytes().replace(b"Done 7", b"Done X"))
    assert instruction_source(moved).fingerprint("train") != found[0]
    best, every = (oasst(paths=paths)[0] for paths in ("best", "all"))
    assert instruction_source(file, best).fingerprint("train") != instruction_source(file, every).fingerprint("train")


def test_a_file_that_changes_is_read_again(file):
    source = instruction_source(file, max_validation=0)
    assert source.count("train") == 50
    write(file, [alpaca(number) for number in range(7)])
    assert source.count("train") == 7


def test_a_format_of_ones_own(tmp_path):
    own = Format(
        name="own",
        about="q, a",
        kind="instruction",
        keys=("q", "a"),
        detect=lambda record: "q" in record,
        read=lambda record, filtered: iter([{"instruction": record["q"], "input": "", "output": record["a"]}]),
    )
    path = write(tmp_path / "d.jsonl", [{"q": "a", "a": "b"}, {"q": "c"}, {"q": 3, "a": "b"}])
    told = []
    source = instruction_source(path, own, max_validation=0)
    assert outputs(source, "train", told) == ["b"]
    assert "line 2: not readable as own (KeyError: 'a')" in str(told[0])
    assert len(told) == 2


def test_wrong_arguments_are_refused(file):
    with pytest.raises(UserError, match=r"Unknown record format 'alpac'. Did you mean 'alpaca'"):
        instruction_source(file, "alpac")
    with pytest.raises(UserError, match="max_validation=-1"):
        instruction_source(file, max_validation=-1)


def test_an_unknown_format_names_the_file(tmp_path):
    path = write(tmp_path / "d.jsonl", [{"foo": 1}])
    with pytest.raises(UserError, match=r"d\.jsonl: no known format has records with the keys foo"):
        instruction_source(path).profile()


def test_hub_names_are_told_from_paths(monkeypatch, tmp_path):
    from flan_jax.data.sources.hub import HubSource

    asked = []

    def read(self, split):
        asked.append((self.name, self.config, self.revision, dict(self.parts)[split]))
        yield 0, RecordError("row 0 is bad")
        yield from ((number, alpaca(number)) for number in range(1, 12))

    monkeypatch.setattr(HubSource, "read", read)
    source = instruction_source("some-one/Data.set:main_config@refs/convert/parquet")
    told = []
    assert len(outputs(source, "train", told)) == 10
    assert len(outputs(source, "validation", told)) == 1
    assert asked[0] == ("some-one/Data.set", "main_config", "refs/convert/parquet", "train")
    assert "record 0: row 0 is bad" in str(told[0])
    assert source.count("train") is None
    explicit = instruction_source("some-one/data", train="train[:90%]", validation="train[90%:]")
    assert explicit.splits == ("train", "validation")
    assert len(outputs(explicit, "validation", told)) == 11
    for wrong in ("a/b/c", "missing.jsonl", "a b/c"):
        with pytest.raises(UserError, match="does not exist"):
            list(instruction_source(str(tmp_path / wrong) if wrong == "a/b/c" else wrong).records("train"))


def test_the_report_counts_what_each_step_left_out(tmp_path):
    said = [("human", "a"), ("gpt", "b")]
    talk = [{"from": who, "value": text} for who, text in said]
    records = [
        {"id": "1", "conversations": talk},
        {"id": "2", "conversations": talk},
        {"id": "3", "conversations": [talk[0], {"from": "gpt", "value": ""}]},
        {"id": "4", "conversations": [{"from": "gpt", "value": "Hi!"}, *talk, *talk]},
        {"id": "5", "conversations": [talk[0]]},
        {"id": "6", "conversations": [talk[0], {"from": "gpt", "value": "As an AI language model, no."}]},
    ]
    by_shape = data_report(write(tmp_path / "d.jsonl", records)).files[0]
    assert (by_shape.examples, by_shape.filtered, by_shape.changed) == (4, {"placeholders": 0, "empty": 1}, {})
    path = write(tmp_path / "ShareGPT_V3_unfiltered_cleaned_split.jsonl", records)
    path = path.rename(path.with_suffix(".json"))
    file = data_report(path).files[0]
    assert (file.format, file.kind) == ("sharegpt", "chat")
    assert (file.records, file.examples, file.messages, file.turns, file.unreadable) == (6, 3, 8, 4, 1)
    assert file.filtered == {"markdown": 0, "opening": 0, "placeholders": 0, "empty": 1, "duplicates": 1, "split": 0}
    assert file.changed == {"opening": 1}
    assert data_report(path, clean=("refused",)).totals("filtered")["refused"] == 1
    assert data_report(path, no_clean=("all",)).total("examples") == 5
    assert data_report(path, no_clean=("all",), clean=("empty",)).totals("filtered") == {"empty": 1}
    assert data_report(path, no_clean=("empty",)).total("examples") == 4


def test_the_report_of_a_folder_counts_every_file(tmp_path):
    write(tmp_path / "a.jsonl", [alpaca(1)])
    write(tmp_path / "b.jsonl", [{"inputs": "x", "targets": "y", "task_name": name} for name in ("m", "n", "m")])
    (tmp_path / "notes.md").write_text("no data")
    report = data_report(tmp_path)
    assert [file.format for file in report.files] == ["alpaca", "flan_dump"]
    assert report.files[1].tasks == 2
    assert report.as_dict()["examples"] == 4
    json.dumps(report.as_dict())


def test_a_tab_separated_file_is_chains_of_thought(tmp_path):
    rows = [f"q{number}\t{number}\tbecause\\nso" for number in range(10)]
    path = tmp_path / "own_train.tsv"
    path.write_text("\n".join([*rows[:3], "two\tcolumns", *rows[3:]]))
    told = []
    source = instruction_source(path, max_validation=0)
    assert outputs(source, "train", told)[0] == "because\nso\nThe answer is 0"
    assert "line 4: 2 column(s) instead of 3" in str(told[0])


def test_fingerprints_change_with_the_code_of_a_format_and_of_a_length(file):
    def told(record, filtered):
        yield {"instruction": record["instruction"], "input": "", "output": record["output"]}

    def turned(record, filtered):
        yield {"instruction": record["output"], "input": "", "output": record["instruction"]}

    def fingerprint(read, length=len):
        own = Format("own", "", "instruction", ("instruction",), lambda record: True, read)
        return instruction_source(file, own, cleaning=Cleaning(("split",), length=length)).fingerprint("train")

    found = [fingerprint(told), fingerprint(turned), fingerprint(told, lambda text: 2 * len(text))]
    assert len(set(found)) == 3
    assert fingerprint(told) == found[0]


def test_reading_is_lazy(file):
    source = instruction_source(file.parent / "not there yet.jsonl")
    assert source.splits == ("train", "validation")
    assert "not there yet" in source.describe()
    first = list(itertools.islice(instruction_source(file).records("train"), 2))
    assert len(first) == 2
