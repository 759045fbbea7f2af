"""Preparing in several processes: the same bytes, the same sentences, and an end with the parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from deep import with_deep
from prepare_toys import contents, records, write_lines, yes_or_no

from flan_jax.data.prepare import workers
from flan_jax.data.prepare.config import DEFAULT_LENGTHS, PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources import base as sources
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import BaseTask
from flan_jax.testing.tasks import PARITY, VOWEL, toy_vocabulary

BYTES = ByteVocabulary()
TOOL = Path(__file__).parents[3] / "tools/dev/kill_prepare.py"


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


@pytest.fixture
def impatient(monkeypatch):
    """Workers are started for the smallest tasks, too."""
    monkeypatch.setattr(workers, "PATIENCE_S", -1.0)


def lines(tmp_path, name, count=50):
    return yes_or_no(name, write_lines(tmp_path / f"{name}.jsonl", records(count, name)))


@pytest.mark.usefixtures("impatient")
def test_several_processes_store_the_same_bytes(tmp_path):
    sources.set_data_dir(tmp_path)  # chosen here, so that workers must be told
    write_lines(tmp_path / "c.jsonl", [b"{", *records(40)])
    captured = {"label": "answer"}

    def fields(record):
        return {"question": record["question"], "answer": record[captured["label"]]}

    tasks = [
        (Prompted(PARITY), ("train", "validation", "test")),
        (Prompted(VOWEL), ("test", "train")),
        (lines(tmp_path, "a"), ("train",)),
        (yes_or_no("b", "c.jsonl", fields=fields), ("train",)),
    ]
    reports = []
    for processes in (1, 2):
        store = TokenStore(tmp_path / f"store{processes}")
        told = []
        report = prepare(
            tasks, PrepareConfig(toy_vocabulary(), TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store,
            processes=processes, progress=lambda done, total, what, told=told: told.append((done, total)),
        )  # fmt: skip
        assert told == [(done, 7) for done in range(1, 8)]
        assert report.unreadable == 1
        reports.append([(split.task, split.split, split.messages, split.examples) for split in report.splits])
    assert reports[0] == reports[1]
    assert contents(TokenStore(tmp_path / "store1")) == contents(TokenStore(tmp_path / "store2"))


def test_little_work_starts_no_process(tmp_path, store, monkeypatch):
    monkeypatch.setattr(workers, "_start_worker", lambda setup: pytest.fail("a worker was started"))
    tasks = [(Prompted(PARITY), ("train", "test")), (lines(tmp_path, "a"), ("train",))]
    assert prepare(tasks, PrepareConfig(BYTES), store=store, processes=8).written == 3
    monkeypatch.setattr(workers, "PATIENCE_S", -1.0)
    assert prepare(tasks, PrepareConfig(BYTES), store=store, processes=8).skipped == 3
    one = [(Prompted(VOWEL), ("train", "test"))]
    assert prepare(one, PrepareConfig(BYTES), store=store, processes=8).written == 2


def test_large_tasks_and_those_of_unknown_size_go_first(tmp_path):
    works = {
        name: workers.SplitJob(lines(tmp_path, name, count), "train", {})
        for name, count in (("small", 3), ("large", 300), ("middle", 30))
    }
    works["unknown"] = workers.SplitJob(Prompted(PARITY), "train", {})
    sizes = {name: workers._size((work,)) for name, work in works.items()}
    assert sizes["small"] < sizes["middle"] < sizes["large"]
    assert sizes["unknown"] == 0  # generated in memory
    assert workers._size((workers.SplitJob(BaseTask(), "train", {}),)) == float("inf")


def failing(record):
    if record["question"].endswith("30"):
        raise RuntimeError("this is no user's mistake")
    return record


def dying(record):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_bad_record_says_the_same_from_a_worker(tmp_path, store, processes):
    path = write_lines(tmp_path / "bad.jsonl", [*records(300), b"{"])
    with pytest.raises(UserError) as error:
        prepare(
            [(lines(tmp_path, "a"), ["train"]), (yes_or_no("bad", path), ["train"])],
            PrepareConfig(BYTES), store=store, processes=processes,
        )  # fmt: skip
    assert str(error.value) == (
        f"{path}, line 301: not valid JSON (Expecting property name enclosed in double quotes, column 2). "
        "Correct or remove the record."
    )
    assert {name.partition("/")[0] for name in contents(store)} <= {"a_zs_opt"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        (failing, RuntimeError, "(?s)in a worker process.*this is no user's mistake"),
        (dying, UserError, r"prepared task 'bad_zs_opt', split 'train' ended before it was done \(exit code -9\)"),
    ],
)
def test_a_worker_that_fails_or_dies_ends_the_run(tmp_path, store, fields, kind, message):
    tasks = [(lines(tmp_path, "a"), ["train"]), (yes_or_no("bad", tmp_path / "a.jsonl", fields=fields), ["train"])]
    with pytest.raises(kind, match=message):
        prepare(tasks, PrepareConfig(BYTES), store=store, processes=2)


@pytest.mark.usefixtures("impatient")
def test_what_cannot_travel_is_named(tmp_path, store):
    lock = threading.Lock()
    task = yes_or_no("locked", tmp_path / "a.jsonl", fields=lambda record: record if lock else None)
    with pytest.raises(UserError, match=r"Task 'locked_zs_opt' cannot be sent to another process .*--processes 1"):
        prepare([(lines(tmp_path, "a"), ["train"]), (task, ["train"])], PrepareConfig(BYTES), store=store, processes=2)


def test_there_must_be_a_process(store):
    with pytest.raises(UserError, match="number of processes is 0"):
        prepare([], PrepareConfig(BYTES), store=store, processes=0)


REGISTRY = """
import dataclasses, sys
from flan_jax.data.prepare.preprocessors import PromptedPreprocessor
from flan_jax.testing.tasks import PARITY
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import BaseTask
KNOWN = {}

@dataclasses.dataclass(frozen=True)
class Named(BaseTask):
    name: str
    cluster: str = "named"
    splits: tuple = ("train",)

    def preprocessor(self, config):
        return PromptedPreprocessor(KNOWN[self.name], config)
"""
REGISTERING = """
import named_tasks
from flan_jax.testing.tasks import COPY, PARITY
from flan_jax.tasks.spec import Prompted
named_tasks.KNOWN.update(one=Prompted(PARITY), two=Prompted(COPY))
"""


@pytest.mark.usefixtures("impatient")
def test_workers_import_what_fills_registries(tmp_path, store, monkeypatch):
    (tmp_path / "named_tasks.py").write_text(REGISTRY)
    (tmp_path / "registering.py").write_text(REGISTERING)
    monkeypatch.syspath_prepend(str(tmp_path))
    import named_tasks
    import registering  # noqa: F401

    tasks = [(named_tasks.Named(name), ["train"]) for name in ("one", "two")]
    report = prepare(tasks, PrepareConfig(BYTES), store=store, processes=2, modules=["registering"])
    assert report.written == 2


SCRIPT = """
import functools, os, signal, sys
from flan_jax.data.prepare import workers
from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.store.store import TokenStore
from prepare_toys import yes_or_no

workers.PATIENCE_S = -1.0
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it

def stuck(record, fifo):
    if record["question"].endswith("9") and os.path.exists(fifo):
        global held
        held = open(fifo, "w")  # whoever reads it sees its end when this process ends
        held.write("stuck\\n")
        held.flush()
        signal.pause()
    return record

if __name__ == "__main__":
    folder, fifo = sys.argv[1:]
    tasks = [(yes_or_no(name, f"{folder}/{name}.jsonl", fields=functools.partial(stuck, fifo=fifo)), ["train"]) for name in "ab"]
    prepare(tasks, PrepareConfig(ByteVocabulary()), store=TokenStore(f"{folder}/store"), processes=2)
"""


@pytest.fixture
def script(tmp_path):
    """Starts a program that prepares ``a`` and ``b`` with two workers, which wait in the middle of their work
    while there is a FIFO to tell of it."""
    for name in "ab":
        write_lines(tmp_path / f"{name}.jsonl", records(300, name))
    (tmp_path / "script.py").write_text(SCRIPT)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])

    def start(fifo):
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), str(fifo)]
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_and_the_same_command_continues(tmp_path, store, script, how):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    parent = script(fifo)
    with fifo.open() as told:
        assert [told.readline(), told.readline()] == ["stuck\n", "stuck\n"]  # both
        parent.send_signal(how)
        told.read()  # until every worker that holds it has ended
    assert parent.wait() == -how
    assert contents(store) == {}  # nothing half-written either
    fifo.unlink()
    assert script(fifo).wait() == 0
    assert len(store.tasks()) == 2


def test_two_at_once_make_one_store(tmp_path, store, script):
    assert [process.wait() for process in [script("none"), script("none")]] == [0, 0]
    alone = TokenStore(tmp_path / "alone")
    tasks = [(yes_or_no(name, tmp_path / f"{name}.jsonl"), ["train"]) for name in "ab"]
    prepare(tasks, PrepareConfig(BYTES), store=alone)
    ours, theirs = (
        {name.partition("/")[0]: content for name, content in contents(each).items() if name.endswith(".arrow")}
        for each in (store, alone)
    )
    assert len(contents(store)) == 8
    assert ours == theirs


OWN = """
from flan_jax.data.sources.generated import generated
from flan_jax.mixing.mixture import Entry, Mixture, register_mixture
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import copy, parity, vowel
TASKS = tuple(Prompted(make(4000)) for make in (copy, parity, vowel))
register_mixture("killed", lambda: Mixture("killed", tuple(Entry(task) for task in TASKS), vocabulary="bytes"))
"""


@pytest.mark.timeout(1200)  # half a dozen fresh processes, one after another: slow machines take minutes for them
@pytest.mark.parametrize("kills", with_deep([1], [2]))
def test_killed_again_and_again_it_makes_the_same_store(tmp_path, kills):
    (tmp_path / "killed_tasks.py").write_text(textwrap.dedent(OWN))
    command = [
        sys.executable,
        str(TOOL),
        "--mixture",
        "killed",
        "--module_import",
        "killed_tasks",
        "--kills",
        str(kills),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"equal": true' in done.stdout
    assert done.stdout.count("after_s") == kills


@pytest.mark.usefixtures("impatient")
def test_where_one_fails_the_others_end_without_a_word(tmp_path, store, capfd):
    write_lines(tmp_path / "broken.jsonl", [*records(300, "broken"), b"{"])
    tasks = [(lines(tmp_path, name, 3000), ("train",)) for name in "abc"]
    tasks.append((yes_or_no("broken", tmp_path / "broken.jsonl"), ("train",)))
    with pytest.raises(UserError, match=r"broken\.jsonl, line 301"):
        prepare(tasks, PrepareConfig(BYTES), store=store, processes=2)
    assert capfd.readouterr().err == ""


def test_the_end_of_a_worker_is_no_error(monkeypatch, capsys):
    """A signal may raise where nobody can catch it."""

    class Raises:
        def __init__(self, error):
            self.error = error

        def __del__(self):
            raise self.error

    monkeypatch.setattr(sys, "unraisablehook", workers._print_unraisable)
    Raises(SystemExit(1))
    assert capsys.readouterr().err == ""
    Raises(ValueError("a fault of ours"))
    assert "ValueError: a fault of ours" in capsys.readouterr().err


def test_no_more_processes_than_this_one_may_use_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 192)
    assert workers.usable_cores() == 2
    monkeypatch.delattr("os.sched_getaffinity")
    assert workers.usable_cores() == 192
