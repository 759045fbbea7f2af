"""Files of tests that have compiled programs in common are dealt to one of the processes that run tests side by side."""

from typing import Any

import pytest

TOGETHER = (
    ("train",),
    ("eval",),
    ("experiments/weighting",),
    # The step of a tiny T5 on the embedded world, on two devices.
    (
        "experiments/test_experiments_train.py",
        "experiments/validation/test_experiments_validation_loss.py",
        "experiments/weights/test_experiments_huggingface.py",
    ),
    # The step of a tiny T5 on two toy tasks, on one device.
    (
        "experiments/test_experiments_batches.py",
        "experiments/test_experiments_seams.py",
        "experiments/evaluation/test_experiments_contamination.py",
    ),
)
"""Folders, whose own files are meant and not those of folders in them, and files; below ``tests``."""


def dealt_with(file: str) -> str:
    """Names what is dealt to one process as a whole: the first of the files or folders that belong together, or the file."""
    below = file.removeprefix("tests/")
    folder = below.rpartition("/")[0]
    return next((f"tests/{names[0]}" for names in TOGETHER if below in names or folder in names), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadfile``; any other way is pytest-xdist's own."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler.loadfile import LoadFileScheduling

    class OneProcess(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return dealt_with(super()._split_scope(nodeid))

    return OneProcess(config, log)
