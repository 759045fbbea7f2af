"""The records of a file by their numbers: the same as reading all, and without parsing the others."""

import gzip
import json

import pytest

from flan_jax.data.file_readers import records as reading
from flan_jax.data.file_readers.records import numbered_records, records_at
from flan_jax.errors import UserError

pyarrow = pytest.importorskip("pyarrow")
ROWS = [{"inputs": f"Do {number}.", "targets": "ok"} for number in range(2500)]


def write(folder, name):
    path = folder / name
    if name.endswith(".parquet"):
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return path
    lines = [json.dumps(row) for row in ROWS]
    lines[3:4] = ["", "[]"]  # a blank line, and a record that is none
    if ".tsv" in name:
        lines = ["\t".join(("q", "a", f"r {number}")) for number in range(50)] + ["one column"]
    text = json.dumps([*ROWS[:3], [], *ROWS[4:]]) if name.startswith("list") else "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


NAMES = ("a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "list.json", "list.json.gz", "a.tsv", "a.tsv.gz", "a.parquet")


@pytest.mark.parametrize("name", NAMES)
def test_records_by_number_are_those_of_reading_all(tmp_path, name):
    path = write(tmp_path, name)
    every = list(numbered_records(path))
    chosen = every[1:4] + every[40:-1:300] + every[-1:]
    found = list(records_at(path, [number for number, _ in chosen]))
    assert [number for number, _ in found] == [number for number, _ in chosen]
    assert [str(record) for _, record in found] == [str(record) for _, record in chosen]
    assert any(isinstance(record, UserError) for _, record in found) == (name != "a.parquet")
    assert list(records_at(path, [])) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_lines_that_are_not_asked_for_are_not_parsed(tmp_path, name, monkeypatch):
    path = write(tmp_path, name)
    parsed = []
    own = reading.parse_record
    monkeypatch.setattr(reading, "parse_record", lambda line: parsed.append(line) or own(line))
    assert len(list(records_at(path, [2, 90]))) == len(parsed) == 2


def test_a_list_is_loaded_once_for_all_its_tasks_and_again_when_it_changes(tmp_path, monkeypatch):
    path = write(tmp_path, "list.json")
    loaded = []
    own = reading._elements
    monkeypatch.setattr(reading, "_elements", lambda path: loaded.append(path) or own(path))
    for number in (0, 5, 9):
        assert next(records_at(path, [number])) == (number, ROWS[number])
    assert len(loaded) == 1
    path.write_text(json.dumps([{"inputs": "other"}]))
    assert list(records_at(path, [0])) == [(0, {"inputs": "other"})]
