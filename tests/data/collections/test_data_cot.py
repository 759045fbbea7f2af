"""FLAN's chain-of-thought files: rows, the part that validates, and broken rows."""

import os

import pytest

from flan_jax.data.collections.cot import ROWS, cot_file
from flan_jax.data.sources.base import DATA_DIR_VARIABLE
from flan_jax.data.sources.published import origin
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Source
from flan_jax.testing.records import good_records


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path))
    (tmp_path / "flan_cot").mkdir()
    return tmp_path / "flan_cot"


def write(folder, rows, name="gsm8k"):
    path = folder / f"{name}_train.tsv"
    path.write_bytes(b"".join(row if isinstance(row, bytes) else row.encode() + b"\n" for row in rows))
    return path


def questions(source, split):
    return [record["question"] for record in source.records(split)]


ROWS_OF_FIFTY = [f"How many legs have {n} goats?\t{4 * n}\tA goat has 4 legs. {n} x 4 = {4 * n}." for n in range(50)]


def test_rows_are_read_with_their_line_breaks(folder):
    write(
        folder,
        ["\ufeffA pen costs 2.\\nHow much are 3?\\n\t6\tOne costs 2.\\n3 x 2 = 6.", "", "Why\u2028so?\tyes\tIt is.\r"],
    )
    source = cot_file("gsm8k")
    assert isinstance(source, Source)
    assert list(source.records("train")) == [
        {"question": "A pen costs 2.\nHow much are 3?\n", "answer": "6", "rationale": "One costs 2.\n3 x 2 = 6."},
        {"question": "Why\u2028so?", "answer": "yes", "rationale": "It is."},
    ]
    assert list(source.records("validation")) == []
    assert source.place("train", 1).endswith("gsm8k_train.tsv, line 3")


def test_a_tenth_at_most_validates_and_is_chosen_by_the_question(folder):
    write(folder, ROWS_OF_FIFTY)
    source = cot_file("gsm8k")
    train, validation = questions(source, "train"), questions(source, "validation")
    assert (len(train), len(validation)) == (45, 5) == (source.count("train"), source.count("validation"))
    whole = [row.split("\t")[0] for row in ROWS_OF_FIFTY]
    assert [question for question in whole if question in train] == train  # the file's order
    assert sorted(train + validation) == sorted(whole)
    assert validation != whole[-5:]
    assert validation != whole[:5]
    assert len(questions(cot_file("gsm8k", max_validation=2), "validation")) == 2
    assert questions(cot_file("gsm8k", seed=1), "validation") != validation
    write(folder, ROWS_OF_FIFTY[::-1])
    assert sorted(questions(source, "validation")) == sorted(validation)


def test_equal_questions_stay_on_one_side(folder):
    write(folder, [row for row in ROWS_OF_FIFTY for _ in range(2)])
    for seed in range(10):
        source = cot_file("gsm8k", seed=seed)
        train, validation = questions(source, "train"), questions(source, "validation")
        assert len(validation) == 10
        assert not set(train) & set(validation)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("no tab at all", "1 column(s) instead of 3"),
        ("one\ttwo\tthree\tfour", "4 column(s) instead of 3"),
        ("question\t \trationale", "the answer is empty"),
        ("question\tanswer\t\\n", "the rationale is empty"),
        (b"caf\xe9\tyes\tbecause\n", "is not UTF-8 text (byte 4 of the line)"),
    ],
)
def test_an_unreadable_row_is_named_and_left_out(folder, row, complaint):
    path = write(folder, ["a\tb\tc", row, "d\te\tf"])
    source = cot_file("gsm8k")
    with pytest.raises(UserError) as refused:
        list(source.records("train"))
    assert f"{path}, line 2" in str(refused.value)
    assert complaint in str(refused.value)
    told = []
    assert [record["question"] for record in good_records(source, "train", told)] == ["a", "d"]
    assert [str(error) for error in told] == [str(refused.value)]
    assert source.count("train") == 3


def test_the_fingerprint_follows_content_and_split(folder):
    write(folder, ROWS_OF_FIFTY)
    source = cot_file("gsm8k")
    before = source.fingerprint("train")
    assert before != source.fingerprint("validation")
    assert before != cot_file("gsm8k", seed=1).fingerprint("train")
    path = write(folder, [*ROWS_OF_FIFTY, "one more?\tyes\tyes."])
    assert source.fingerprint("train") != before
    assert source.size_hint("train") == path.stat().st_size


def test_without_the_file_only_the_published_count_is_known(folder):
    source = cot_file("esnli")
    assert source.count("train") + source.count("validation") == ROWS["esnli"] == 36_174
    assert source.count("validation") == 200
    with pytest.raises(UserError, match=r"esnli_train.tsv.* does not exist .*FLAN_JAX_DATA_DIR"):
        next(source.records("train"))
    with pytest.raises(UserError, match="has no split 'test'"):
        next(source.records("test"))
    with pytest.raises(UserError, match=r"Unknown chain-of-thought file 'esnl'. Did you mean 'esnli'"):
        cot_file("esnl")


def test_a_file_tells_of_the_data_set_it_was_made_from():
    assert cot_file("ecqa").origins() >= origins_of("tau/commonsense_qa")
    assert cot_file("esnli").origins() >= origins_of("stanfordnlp/snli")
    assert cot_file("gsm8k").origins() == {"gsm8k"} == origins_of("openai/gsm8k")


def origins_of(name):
    return {origin(name)}


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_published_files_have_the_published_rows(realdata, monkeypatch, name):
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(realdata))
    if not os.path.exists(realdata / "flan_cot" / f"{name}_train.tsv"):
        pytest.skip(f"no {name}_train.tsv")
    source = cot_file(name)
    read = {split: sum(1 for _ in source.records(split)) for split in source.splits}
    assert sum(read.values()) == ROWS[name]
    assert read["validation"] == min(200, ROWS[name] // 10)
    assert read == {split: source.count(split) for split in source.splits}
