"""A record that names a key twice has no one value: it is named, counted, and harms no other."""

import gzip
import json

import pytest

from flan_jax.data.file_readers.records import numbered_records, records_at
from flan_jax.data.sources.json_files import jsonl
from flan_jax.errors import UserError
from flan_jax.tasks.chat.turns import calls_of, tools_of
from flan_jax.testing.records import good_records
from flan_jax.unique_keys import RepeatedKeyError, decode, decode_records

TWICE = '{"input": "a", "output": "b", "input": "c"}'
INSIDE = '{"turns": [{"role": "user", "said": {"text": "a", "text": "a"}}]}'
GOOD = '{"input": "a", "output": "input", "other": {"input": "b"}, "more": [{"input": "c"}, {"input": "d"}]}'
SENTENCE = "the key {!r} stands twice in one object, so one of its values would be lost"


@pytest.mark.parametrize(("text", "key"), [(TWICE, "input"), (INSIDE, "text"), ('{"a" : 1, "\\u0061":1}', "a")])
def test_a_key_that_stands_twice_is_named_wherever_it_is(text, key):
    for read in (decode, decode_records):
        with pytest.raises(RepeatedKeyError, match=SENTENCE.format(key)):
            read(text if read is decode else f'{{"x": {text}}}')


def test_keys_that_stand_once_in_each_object_are_read():
    assert decode(GOOD) == decode_records(GOOD) == json.loads(GOOD)


def test_of_lists_of_records_one_is_spoiled_alone():
    for whole in (f"[{GOOD}, {TWICE}, {INSIDE}, 3]", f'{{"Instances": [{GOOD}, {TWICE}, {INSIDE}, 3]}}'):
        read = decode_records(whole)
        records = read["Instances"] if isinstance(read, dict) else read
        assert records[0] == json.loads(GOOD)
        assert [str(record) for record in records[1:]] == [SENTENCE.format("input"), SENTENCE.format("text"), "3"]
    with pytest.raises(RepeatedKeyError, match="'Instances'"):
        decode_records(f'{{"Instances": [], "Instances": [{GOOD}]}}')


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "list.json", "list.jsonl", "a.jsonl.gz"])
def test_every_file_of_records_says_where(tmp_path, name):
    lines = [GOOD, TWICE, INSIDE, GOOD]
    text = f"[{','.join(lines)}]" if name.startswith("list") else "\n".join(lines)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    first = 0 if name.startswith("list") else 1
    read = list(numbered_records(path))
    assert [number for number, _ in read] == [first + at for at in range(4)]
    assert [str(record) for _, record in read[1:3]] == [
        SENTENCE.format(key) + ". Correct or remove the record." for key in ("input", "text")
    ]
    assert read[0][1] == read[3][1] == json.loads(GOOD)
    again = list(records_at(path, [first + 1, first + 3]))
    assert (type(again[0][1]), again[1]) == (UserError, read[3])


def test_a_file_that_is_one_record_is_named(tmp_path):
    (tmp_path / "a.json").write_text(INSIDE)
    with pytest.raises(UserError, match=r"a\.json: the key 'text' stands twice .*\. Correct the file\.$"):
        list(numbered_records(tmp_path / "a.json"))


@pytest.mark.parametrize(("name", "place"), [("a.jsonl", "line 2"), ("a.json", "record 1")])
def test_a_task_s_own_source_counts_it(tmp_path, name, place):
    path, told = tmp_path / name, []
    lines = [GOOD, TWICE, GOOD]
    path.write_text(f"[{','.join(lines)}]" if name == "a.json" else "\n".join(lines))
    assert len(list(good_records(jsonl(train=path), "train", told))) == 2
    assert [str(error) for error in told] == [
        f"{path}, {place}: {SENTENCE.format('input')}. Correct or remove the record."
    ]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.csv", "input,output,input"),
        ("a.csv", "Input,output,input"),
        ("a.tsv", "question\tanswer\tanswer"),
        ("a.tsv", "input\tinput\toutput"),
    ],
)
def test_a_column_that_stands_twice_is_named(tmp_path, name, header):
    mark = "," if name == "a.csv" else "\t"
    (tmp_path / name).write_text("\n".join([header, mark.join("abc"), mark.join("def")]) + "\n")
    with pytest.raises(UserError, match=r"a\..sv, line 1: the column '(input|answer)' stands twice"):
        list(numbered_records(tmp_path / name))


def test_a_column_of_a_parquet_file_that_stands_twice_is_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = pyarrow.array(["a", "b"])
    parquet.write_table(
        pyarrow.Table.from_arrays([column, column, column], ["input", "x", "input"]), tmp_path / "a.parquet"
    )
    with pytest.raises(UserError, match=r"a\.parquet: the column 'input' stands twice"):
        list(numbered_records(tmp_path / "a.parquet"))


def test_json_inside_a_text_keeps_what_it_says():
    with pytest.raises(UserError, match=r"'tools'.*the key 'name' stands twice"):
        tools_of({"tools": '[{"name": "add", "name": "sub"}]'})
    arguments = '{"a": 1, "a": 2}'
    assert arguments.replace('"', '\\"') in calls_of({"tool_calls": [{"name": "add", "arguments": arguments}]})
