"""Tables of runs from CSV files, and one sentence with row and column for each mistake in them."""

from pathlib import Path

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.studies.fits.table import RunTable
from flan_jax.studies.fits.table_file import read_scores, read_table

GOOD = "run,a,b,loss,accuracy\nfirst,0.25,0.75,2.5,0.5\n\nsecond,1,,3,\n"


def read(path: Path, text: str, **changed: object) -> RunTable:
    path.write_text(text, encoding="utf-8")
    options = {"weights": ["a", "b"], "objectives": ["loss"], "lower_is_better": True, **changed}
    return read_table(path, **options)  # type: ignore[arg-type]


def test_rows_are_runs_and_empty_cells_are_no_weight_and_no_score(tmp_path: Path) -> None:
    own = read(tmp_path / "t.csv", GOOD, objectives=["loss", "accuracy"])
    assert own.runs == ("first", "second")
    assert own.weights.tolist() == [[0.25, 0.75], [1, 0]]
    assert own.scores["loss"].tolist() == [2.5, 3]
    assert np.isnan(own.scores["accuracy"][1])
    assert own.higher_is_better == {"loss": False, "accuracy": False}


def test_rows_have_names_without_a_column_of_them(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "a,b,loss\n.5,.5,1\n1,0,2\n").runs == ("row_1", "row_2")


def test_scores_may_stand_in_another_file_in_another_order(tmp_path: Path) -> None:
    scores = tmp_path / "s.csv"
    scores.write_text("index,loss\n2,20\n1,10\n")
    own = read(tmp_path / "t.csv", "index,a,b\n1,.5,.5\n2,1,0\n", scores_path=scores)
    assert own.scores["loss"].tolist() == [10, 20]
    scores.write_text("index,loss\n2,20\n")
    with pytest.raises(UserError, match="no row of run '1'"):
        read(tmp_path / "t.csv", "index,a,b\n1,.5,.5\n2,1,0\n", scores_path=scores)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run,a,b,loss\nx,.5,.5,1\ny,half,.5,2\n", "line 3, column 'a': 'half' is no number"),
        ("run,a,b,loss\nx,.5,.5,good\n", "line 2, column 'loss': 'good' is no number"),
        ("run,a,b,loss\nx,.5,.4,1\n", "'x': its weights sum to 0.9"),
        ("run,a,b,loss\nx,1.5,-.5,1\n", "'x', unit 'a': the weight 1.5"),
        ("run,a,c,loss\nx,.5,.5,1\n", "Unknown column 'b'"),
        ("run,a,b,Loss\nx,.5,.5,1\n", "Unknown column 'loss'. Did you mean 'Loss'"),
        ("run,a,b,loss\nx,.5,.5\n", "line 2: 3 cells under a header of 4"),
        ("run,a,b,loss\nx,.5,.5,1\nx,1,0,1\n", "line 2: run 'x' is there twice"),
        ("run,a,a,b,loss\nx,.5,.5,0,1\n", "two columns 'a'"),
        ("run,a,b,loss\n", "no row of a run"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path / "t.csv", text)
    assert message in str(caught.value)


def test_columns_and_files_that_are_wrong_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names 1 columns, and a mixture has at least two"):
        read(tmp_path / "t.csv", GOOD, weights=["a"])
    with pytest.raises(UserError, match="'a' is named twice"):
        read(tmp_path / "t.csv", GOOD, objectives=["a"])
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path / "none.csv", weights=["a", "b"], objectives=["loss"], lower_is_better=True)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no CSV file in UTF-8"):
        read_table(tmp_path / "bytes.csv", weights=["a", "b"], objectives=["loss"], lower_is_better=True)


def test_scores_of_named_runs(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("run,loss\nproposed,2.5\nequal,\n")
    assert read_scores(tmp_path / "m.csv", "loss", ("proposed", "proportional", "equal")) == {"proposed": 2.5}
    (tmp_path / "m.csv").write_text("run,loss\npropsed,2.5\n")
    with pytest.raises(UserError, match="Did you mean 'proposed'"):
        read_scores(tmp_path / "m.csv", "loss", ("proposed", "proportional", "equal"))
