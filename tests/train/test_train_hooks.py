import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.files import WritingError
from flan_jax.train.hooks import MetricsWriter, Progress, TensorBoard, duration, read_metrics


def line(loss: float = 2.0, **more: Any) -> dict[str, Any]:
    metrics = {"loss": loss, "weight": 4.0, "tokens": 30.0, "seconds": 2.0, "steps": 5}
    tasks = {"task_loss": np.array([1.0, np.nan, 3.0]), "task_weight": np.array([1.0, 0.0, 3.0])}
    return {**metrics, **tasks, **more}


NAMES = ("rte", "copa", "snli")


def test_metrics_lines_are_one_series_over_a_resumption(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path, NAMES)
    for step in (2, 4, 6):
        writer(step, line(), None)
    with path.open("a") as file:
        file.write('{"step": 8, "lo')  # killed while it wrote
    assert [entry["step"] for entry in read_metrics(path)] == [2, 4, 6]
    writer = MetricsWriter(path, NAMES, resume_step=4)
    writer(6, line(loss=1.5), None)
    entries = read_metrics(path)
    assert [(entry["step"], entry["loss"]) for entry in entries] == [(2, 2.0), (4, 2.0), (6, 1.5)]
    assert entries[0]["task_loss"] == {"rte": 1.0, "snli": 3.0}
    assert entries[0]["task_share"] == {"rte": 0.25, "snli": 0.75}


def test_a_damaged_line_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        b'{"step": 2, "loss": 1.5}',
        b'{"step": 4, "lo',
        b"\xff\xfe{}",
        b'{"loss": 1}',
        b"[1]",
        b"",
        b'{"step": 6, "loss": 1.25}',
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert [entry["step"] for entry in read_metrics(path)] == [2, 6]
    assert [message.split(" is no line")[0] for message in caplog.messages] == [
        f"{path}, line {n}" for n in (2, 3, 4, 5)
    ]
    MetricsWriter(path, NAMES, resume_step=6)(8, line(), None)
    assert path.read_bytes().splitlines()[:2] == [lines[0], lines[6]]  # to the byte
    assert [entry["step"] for entry in read_metrics(path)] == [2, 6, 8]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("text", [b"no metrics at all", b"\0" * 40, b'{"loss": 1, "st'])
def test_a_file_that_holds_no_line_of_metrics_is_no_file_cut_short(
    text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text)
    assert read_metrics(path) == []
    assert [message.split(" is no line")[0] for message in caplog.messages] == [f"{path}, line 1"]


@pytest.mark.parametrize("text", [b"{", b'{"st', b'{"step": 3, "loss": 1.'])
def test_a_line_that_was_cut_short_is_left_out_without_a_word(
    text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 2, "loss": 1.5}\n' + text)
    assert [entry["step"] for entry in read_metrics(path)] == [2]
    assert caplog.messages == []


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = MetricsWriter(tmp_path / "metrics.jsonl", NAMES)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"metrics\.jsonl' cannot be written: there is no space left"):
        writer(1, line(), None)


def test_a_fresh_run_empties_the_file(tmp_path: Path) -> None:
    MetricsWriter(tmp_path / "m.jsonl")(1, line(), None)
    MetricsWriter(tmp_path / "m.jsonl")
    assert read_metrics(tmp_path / "m.jsonl") == []
    assert read_metrics(tmp_path / "absent.jsonl") == []


def read_events(path: Path) -> list[Any]:
    """The events of a file by its documented layout; TensorBoard's own reader would import TensorFlow."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12]) == (masked_crc32c(data[:8]),)
        assert struct.unpack("<I", data[12 + length : 16 + length]) == (masked_crc32c(body),)
        events.append(Event.FromString(body))
        data = data[16 + length :]
    return events


def test_a_full_disk_is_a_sentence_of_tensorboards_file_too(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.close()
    board._writer = type(board._writer)(Path("/dev/full").open("wb"))  # noqa: SIM115  (which it closes)
    for write in (lambda: board(1, line(), None), board.close):  # closing tries to write what is left
        with pytest.raises(WritingError, match="cannot be written: there is no space left"):
            write()


def test_tensorboard_events(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, NAMES, resume_step=3)
    board(4, line(), None)
    board.close()
    (path,) = tmp_path.iterdir()
    version, start, event = read_events(path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (4, start.session_log.START)  # hides what came after step 3
    scalars = {value.tag: value.simple_value for value in event.summary.value}
    assert event.step == 4
    assert scalars["train/loss"] == 2.0
    assert scalars["task_share/snli"] == 0.75
    assert "task_loss/copa" not in scalars


def test_training_imports_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, flan_jax.train.loop, flan_jax.train.hooks as h\n"
        f"h.TensorBoard({str(tmp_path)!r}).close()\n"
        "assert not {'tensorflow', 'seqio', 'gin'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_prints_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(20, stream=stream)
    progress(5, line(), None)
    progress(20, line(), None)
    assert stream.getvalue().splitlines() == [
        "step 5/20  loss 2.0000  15 tokens/s  ETA 0:06",
        "step 20/20  loss 2.0000  15 tokens/s  ETA 0:00",
    ]


def test_progress_is_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    progress = Progress(20, start=5, stream=stream)
    progress(10, line(), None)
    progress(20, line(), None)
    assert "20/20" in stream.getvalue()
    assert "loss 2.0000, 15 tokens/s" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.2, "1:00"), (61, "1:01"), (3725, "1:02:05")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
