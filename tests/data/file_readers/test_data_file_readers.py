"""The ways in which records are written: tables with a header, lists in .jsonl, files compressed in any way."""

import bz2
import gzip
import json
import lzma

import pyarrow
import pytest

from flan_jax.data.file_readers.records import number_unit, numbered_records, records_at
from flan_jax.data.instructions import data_report, mixture_of_path
from flan_jax.errors import UserError

ROWS = [{"instruction": f"Do {n}.", "input": "", "output": f"done {n}"} for n in range(30)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def records(path):
    return list(numbered_records(path))


def zstd(content):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)]
)
def test_compressed_files(tmp_path, ending, compress):
    path = tmp_path / f"train.jsonl{ending}"
    path.write_bytes(compress(LINES))
    assert [record for _, record in records(path)] == ROWS
    assert list(records_at(path, [2, 9])) == [(2, ROWS[1]), (9, ROWS[8])]
    assert data_report(path).files[0].usable == 30
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="the file is damaged"):
        records(path)


@pytest.mark.parametrize("text", [json.dumps(ROWS), json.dumps(ROWS, indent=1), "\ufeff" + json.dumps(ROWS)])
def test_a_list_in_a_jsonl(tmp_path, text):
    path = tmp_path / "d.jsonl"
    path.write_text(text)
    assert records(path) == list(enumerate(ROWS))
    assert list(records_at(path, [3])) == [(3, ROWS[3])]
    assert number_unit(path) == "record"
    path.write_text("[1]\n[2]\n")  # a list a line is no list of records
    assert [number for number, record in records(path) if isinstance(record, UserError)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "instruction\tinput\toutput\nSay it.\t\tit\nSay two.\tx\ttwo\n"),
        ("a.tsv", "Instruction\tInput\tOutput\r\nSay it.\t\tit\r\nSay two.\tx\ttwo\r\n"),
        ("a.csv", "instruction,input,output\nSay it.,,it\nSay two.,x,two\n"),
        ("a.csv", "\ufeffinstruction;input;output\nSay it.;;it\nSay two.;x;two\n"),
        ("a.csv", '"instruction","input","output"\n"Say it.","","it"\n\n"Say two.","x","two"\n'),
    ],
)
def test_tables_with_a_header(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, newline="")
    assert [record for _, record in records(path)] == [
        {"instruction": "Say it.", "input": "", "output": "it"},
        {"instruction": "Say two.", "input": "x", "output": "two"},
    ]
    assert data_report(path).files[0].format == "alpaca"
    (_, second) = records(path)
    assert list(records_at(path, [second[0]])) == [second]


def test_cells_may_be_quoted_and_hold_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('instruction,output\n"Write ""a"", then\nb.",a\nb,c,d\n')
    (first, (number, wrong)) = records(path)
    assert first == (2, {"instruction": 'Write "a", then\nb.', "output": "a"})
    assert number == 4
    assert "3 column(s) instead of 2 (instruction, output)" in str(wrong)
    path.write_text('instruction,output\na,"b\n')
    with pytest.raises(UserError, match="line 2: not well-formed"):
        records(path)
    path.write_text("Say it.,it\nSay two.,two\n")
    with pytest.raises(UserError, match=r"the first line of a \.csv file names its columns"):
        records(path)


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_a_column_that_is_named_twice_is_refused_as_such(tmp_path, name, mark):
    path = tmp_path / name
    path.write_text(f"prompt{mark}Prompt{mark}completion\na{mark}b{mark}c\n")
    with pytest.raises(UserError, match="the column 'prompt' stands twice"):
        records(path)


def test_quotes_of_a_tsv_that_quotes_nothing_stay(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('question\tanswer\trationale\nWho?\t"Yes," he said.\tHe said "so\n')
    ((_, record),) = records(path)
    assert record == {"question": "Who?", "answer": '"Yes," he said.', "rationale": 'He said "so'}


def test_flans_own_table_has_no_header_and_another_one_asks_for_its_format(tmp_path):
    path = tmp_path / "cot.tsv"
    path.write_text("What is 2 + 2?\\nThink.\t4\tTwo and two are four.\nIs it?\tyes\tIt is, as it was.\n")
    assert records(path)[0] == (
        1,
        {"question": "What is 2 + 2?\nThink.", "answer": "4", "rationale": "Two and two are four."},
    )
    assert mixture_of_path(path).entries
    path.write_text("Name a fruit.\t\tPear\nName a tool.\t\tSaw\n")
    with pytest.raises(UserError, match=r"its first line names no columns.*--format flan_cot"):
        mixture_of_path(path)
    path.write_text("It rains here.\tIt is wet.\tentailment\nIt is cold.\tIt is hot.\tcontradiction\n")
    with pytest.raises(UserError, match="--format flan_cot"):
        mixture_of_path(path)
    assert data_report(path, "flan_cot").files[0].usable == 2
    path.write_text("Say it.\tit\nSay two.\ttwo\n")
    with pytest.raises(UserError, match="only three"):
        records(path)


def test_one_file_of_natural_instructions_is_read_as_in_a_folder(tmp_path):
    content = {
        "Categories": ["Question Answering"],
        "Definition": ["Answer the riddle."],
        "Positive Examples": [{"input": "It has wheels.", "output": "cart", "explanation": "Carts roll."}],
        "Negative Examples": [],
        "Instances": [{"id": f"t{n}", "input": f"Riddle {n}", "output": [f"answer {n}"]} for n in range(20)],
    }
    for place in ("one/task1_a.json", "pair/task1_a.json", "pair/task2_evaluation_b.json"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(json.dumps(content))
    first = [mixture_of_path(tmp_path / place).entries[0].task for place in ("one", "one/task1_a.json", "pair")]
    assert [(task.spec.name, task.cluster, task.spec.collection) for task in first] == [
        ("task1_a", "question_answering", "niv2")
    ] * 3
    shown = [[task.spec.fields(record) for record in task.spec.source.records("train")] for task in first]
    assert shown[0] == shown[1] == shown[2]
    assert any("It has wheels." in str(slots) for slots in shown[0])
    assert len(mixture_of_path(tmp_path / "pair").entries) == 2
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip/task1_a.json.gz").write_bytes(gzip.compress((tmp_path / "one/task1_a.json").read_bytes()))
    for place in ("zip", "zip/task1_a.json.gz"):
        task = mixture_of_path(tmp_path / place).entries[0].task
        assert (task.spec.name, task.cluster) == ("task1_a", "question_answering")
        assert [task.spec.fields(record) for record in task.spec.source.records("train")] == shown[0]
    (tmp_path / "list.json").write_text(f"[{(tmp_path / 'one/task1_a.json').read_text()}]")
    assert mixture_of_path(tmp_path / "list.json").entries[0].task.spec.cluster == "instructions"


@pytest.mark.parametrize(
    "header",
    [
        "The question\tThe answer\tThe reasoning",
        "Die Frage\tDie Antwort\tDie Begründung",
        "question posée\tréponse\tpourquoi",
    ],
)
def test_a_header_of_other_words_is_no_example_of_a_chain_of_thought(tmp_path, header):
    rows = "What is 2+2?\t4\tTwo and two more make four.\nWho sings?\tbirds\tOf all animals birds sing most.\n"
    path = tmp_path / "a.tsv"
    path.write_text(f"{header}\n{rows}")
    with pytest.raises(UserError, match="looks like names of columns, of which none is known"):
        mixture_of_path(path)
    path.write_text(rows)
    assert data_report(path).files[0].usable == 2
    path.write_text(f"Name a big animal\twhale\tOf all animals the whale is the biggest one.\n{rows}")
    assert data_report(path).files[0].usable == 3
