import os
import subprocess
import sys
import time
import types

import pytest

from flan_jax.errors import UserError
from flan_jax.store import checksum_cache, local
from flan_jax.store.checksum_cache import ChecksumCache, mtimes_settled
from flan_jax.store.store import StoredExample, TokenStore

A = "a" * 32
ARROW_FILE = "data-00000-of-00001.arrow"


def examples(count=5):
    return [StoredExample([2] * (i % 3), [300 + i, 1], i) for i in range(count)]


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


@pytest.fixture
def read(monkeypatch):
    """The names of the files whose checksums were computed."""
    names = []
    digest = local.digest_of_file

    def noted(file):
        names.append(os.path.basename(file))
        return digest(file)

    monkeypatch.setattr(local, "digest_of_file", noted)
    return names


@pytest.fixture
def later(monkeypatch):
    """Lets a process start anew, some time after what was written."""

    def go():
        ChecksumCache.at.cache_clear()
        monkeypatch.setattr(checksum_cache.time, "time_ns", lambda: time.clock_gettime_ns(time.CLOCK_REALTIME) + 10**10)

    return go


def flip(path):
    """Another byte in the middle, the same size, and even the same time."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


def age(folder):
    """Files as another machine wrote them, long ago."""
    for file in folder.iterdir():
        os.utime(file, ns=(10**18, 10**18 + 12_345))


def test_what_was_written_here_is_trusted(store, read, later):
    store.write("t", "train", A, examples(), {})
    later()
    store.open("t", "train", A)
    assert read == []
    store.open("t", "train", A, verify="always")
    assert sorted(read) == ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"]


def test_what_came_from_elsewhere_is_read_once(store, read, later):
    age(store.write("t", "train", A, examples(), {}).folder)
    store.open("t", "train", A, verify="never")
    assert read == []
    store.open("t", "train", A)
    assert len(read) == 3
    store.open("t", "train", A)
    later()
    TokenStore(store.path).open("t", "train", A)
    assert len(read) == 3


@pytest.mark.parametrize("file", [ARROW_FILE, "state.json"])
def test_what_changed_is_read_again(store, file):
    folder = store.write("t", "train", A, examples(), {}).folder
    flip(folder / file)  # within the same tick of the clock, perhaps
    with pytest.raises(UserError, match=rf"{file} does not match its checksum \(blake2b [0-9a-f]+ instead.*--verify"):
        store.open("t", "train", A)
    store.open("t", "train", A, verify="never")
    flip(folder / file)
    store.open("t", "train", A)
    flip(folder / file)
    with pytest.raises(UserError, match="checksum"):
        store.open("t", "train", A)


def test_only_always_finds_what_leaves_no_trace(store, later):
    folder = store.write("t", "train", A, examples(), {}).folder
    age(folder)
    store.open("t", "train", A)
    flip(folder / ARROW_FILE)
    age(folder)
    store.open("t", "train", A)  # same path, inode, size and time
    with pytest.raises(UserError, match="checksum"):
        store.open("t", "train", A, verify="always")


SECOND = 10**9


@pytest.mark.parametrize(
    ("mtime", "age", "settled"),
    [
        (SECOND + 1, 49_000_000, False),  # within a tick of a clock that shows fractions of a second
        (SECOND + 1, 51_000_000, True),
        (SECOND, 51_000_000, False),  # a whole second may be that of a clock that shows no others
        (SECOND, 3 * SECOND, False),
        (SECOND, 3 * SECOND + 1, True),
    ],
)
def test_a_time_is_settled_when_a_later_change_must_show_another(monkeypatch, mtime, age, settled):
    monkeypatch.setattr(checksum_cache.time, "time_ns", lambda: mtime + age)
    old, asked = (types.SimpleNamespace(st_mtime_ns=at) for at in (1, mtime))
    assert mtimes_settled([old, asked]) == settled


def test_another_file_of_the_same_size_and_time_is_read(store, read):
    folder = store.write("t", "train", A, examples(), {}).folder
    age(folder)
    store.open("t", "train", A)
    raw = (folder / ARROW_FILE).read_bytes()
    (folder / "copy").write_bytes(raw[:-1] + b"x")
    os.replace(folder / "copy", folder / ARROW_FILE)  # another inode
    age(folder)
    with pytest.raises(UserError, match="checksum"):
        store.open("t", "train", A)


def test_a_task_found_damaged_is_not_trusted_later(store):
    folder = store.write("t", "train", A, examples(), {}).folder
    flip(folder / ARROW_FILE)
    for _ in range(2):
        with pytest.raises(UserError, match="checksum"):
            store.open("t", "train", A)


def test_writing_replaces_what_is_damaged(store):
    folder = store.write("t", "train", A, examples(), {}).folder
    flip(folder / ARROW_FILE)
    assert store.has("t", "train", A)
    assert not store.has("t", "train", A, verify="changed")
    store.write("t", "train", A, examples(), {})
    assert store.has("t", "train", A, verify="always")
    assert len(list(folder.parent.iterdir())) == 1


def test_an_unknown_policy_is_named(store):
    store.write("t", "train", A, examples(), {})
    with pytest.raises(UserError, match=r"Unknown verification 'alway'\. Did you mean 'always'"):
        store.open("t", "train", A, verify="alway")


@pytest.mark.parametrize("kind", ["absent", "file", "unwritable"])
def test_a_note_that_cannot_be_kept_is_no_error(store, monkeypatch, tmp_path, kind, read, later):
    broken = tmp_path / "broken"
    if kind == "file":
        broken.write_text("")
    elif kind == "unwritable":
        monkeypatch.setattr(os, "open", lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError(13, "no")))
    monkeypatch.setenv("FLAN_JAX_CACHE", str(broken / "cache"))
    age(store.write("t", "train", A, examples(), {}).folder)
    store.open("t", "train", A)
    store.open("t", "train", A)
    assert len(read) == 3  # this process remembers
    if kind != "absent":
        later()
        store.open("t", "train", A)
        assert len(read) == 6


def test_nothing_of_it_is_kept_in_the_store(store):
    store.write("t", "train", A, examples(), {})
    store.open("t", "train", A, verify="always")
    files = sorted(file.name for file in store.path.rglob("*") if file.is_file())
    assert files == [ARROW_FILE, "dataset_info.json", "manifest.json", "state.json"]


def test_a_store_that_cannot_be_written_to_is_read(store, read, later, cache):
    folder = store.write("t", "train", A, examples(), {}).folder
    age(folder)
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    store.open("t", "train", A).inputs(0)
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before


def test_the_note_is_read_once_for_many_tasks(store, later, monkeypatch):
    for i in range(20):
        store.write(f"t{i}", "train", A, examples(), {})
    later()
    reads = []
    refresh = ChecksumCache._refresh
    monkeypatch.setattr(ChecksumCache, "_refresh", lambda self: reads.append(refresh(self)) or reads[-1])
    store.open_many([(f"t{i}", "train", A, None) for i in range(20)])
    assert reads == [True]


def test_writers_of_the_note_do_not_lose_each_other_s_lines(tmp_path):
    note = tmp_path / "verified"
    script = (
        "import sys; from flan_jax.store.checksum_cache import ChecksumCache\n"
        "note = ChecksumCache(sys.argv[1])\n"
        "for i in range(400): note.add(b'%032x' % (int(sys.argv[2]) * 1000 + i))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(note), str(i)]) for i in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    marks = [b"%032x" % (writer * 1000 + i) for writer in range(2) for i in range(400)]
    assert all(mark in ChecksumCache(str(note)) for mark in marks)
    assert b"f" * 32 not in ChecksumCache(str(note))


def test_a_process_sees_what_another_noted_meanwhile(tmp_path):
    one, other = (ChecksumCache(str(tmp_path / "verified")) for _ in range(2))
    one.add(b"1" * 32)
    assert b"1" * 32 in other
    assert b"2" * 32 not in other
    one.add(b"2" * 32)
    assert b"2" * 32 in other


def test_a_garbled_note_costs_a_check_only(store, cache, read, later):
    folder = store.write("t", "train", A, examples(), {}).folder
    age(folder)
    store.open("t", "train", A)
    (cache / "verified").write_bytes(b"\x00\xff" * 100 + (cache / "verified").read_bytes()[5:40])
    later()
    store.open("t", "train", A)
    assert len(read) == 6


def test_the_note_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(checksum_cache, "_LARGEST_NOTE", 330)
    note = ChecksumCache(str(tmp_path / "verified"))
    for i in range(100):
        note.add(b"%032x" % i)
    assert (tmp_path / "verified").stat().st_size <= 330 + 33
    assert b"%032x" % 99 in ChecksumCache(str(tmp_path / "verified"))
