"""A folder is there whole or not at all, and what a file system refuses is said in a sentence."""

import errno
import os
import signal

import pytest

from flan_jax.errors import UserError
from flan_jax.files import new_dir
from flan_jax.signals import handled


def fill(destination, error=None):
    with new_dir(destination) as written:
        (written / "weights").write_text("1")
        assert not destination.exists()
        if error is not None:
            raise error


def test_it_gets_its_name_at_the_end(tmp_path):
    fill(tmp_path / "above" / "made")
    assert [path.name for path in (tmp_path / "above").iterdir()] == ["made"]
    with pytest.raises(UserError, match=r"made' exists\. Name a folder that does not"):
        fill(tmp_path / "above" / "made")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "there is no space left"),
        (PermissionError(errno.EACCES, "Permission denied"), "it may not be written to"),
        (ValueError("RESOURCE_EXHAUSTED: Failed to write [os_error_code='28']"), "there is no space left"),
    ],
)
def test_what_a_file_system_refuses(error, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence) as caught:
        fill(tmp_path / "made", error)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [ValueError("a fault of ours"), FileNotFoundError(errno.ENOENT, "x"), KeyboardInterrupt()]
)
def test_other_failures_stay_what_they_are_and_leave_nothing(error, tmp_path):
    with pytest.raises(type(error)) as caught:
        fill(tmp_path / "made", error)
    assert caught.value is error
    assert not list(tmp_path.iterdir())


def test_sigterm_leaves_nothing_either(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), handled(""), new_dir(tmp_path / "made"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not list(tmp_path.iterdir())
