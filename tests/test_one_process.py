"""Which files of tests are dealt to one process."""

from pathlib import Path

import pytest
from one_process import TOGETHER, dealt_with

TESTS = Path(__file__).parent


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("tests/train/test_train_step.py", "tests/train"),
        (
            "tests/train/reporting/test_train_reporting_trackers.py",
            "tests/train/reporting/test_train_reporting_trackers.py",
        ),
        ("tests/experiments/test_experiments_seams.py", "tests/experiments/test_experiments_batches.py"),
        ("tests/experiments/test_experiments_batches.py", "tests/experiments/test_experiments_batches.py"),
        ("tests/experiments/test_experiments_decoder.py", "tests/experiments/test_experiments_decoder.py"),
    ],
)
def test_files_with_programs_in_common_are_dealt_together(file, expected):
    assert dealt_with(file) == expected


def test_what_is_dealt_together_is_there():
    names = [name for names in TOGETHER for name in names]
    assert [name for name in names if not (TESTS / name).exists()] == []
    assert len(set(names)) == len(names)
