import contextlib
import datetime
import errno
import os
import pickle
import threading
import uuid
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations

from flan_jax.errors import UserError
from flan_jax.store.remote import FsspecBackend
from flan_jax.store.store import Extra, StoredExample, TokenStore

A, B = "a" * 32, "b" * 32
PARTS = {"vocabulary": "v1", "templates": "t1"}
ARROW_FILE = "data-00000-of-00001.arrow"


class Watched(MemoryFileSystem):
    """fsspec's memory that counts what is asked of it, and fails or waits where a test says so."""

    protocol = "watched"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    asked: ClassVar[list] = []
    before = staticmethod(lambda operation, path: None)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("watched://"))

    def _note(self, operation, path):
        name = self._strip_protocol(path)
        Watched.asked.append((operation, name))
        Watched.before(operation, name)

    def ls(self, path, detail=True, **kwargs):
        self._note("ls", path)
        return super().ls(path, detail=detail, **kwargs)

    def cat_file(self, path, *args, **kwargs):
        self._note("cat", path)
        return super().cat_file(path, *args, **kwargs)

    def get_file(self, path, *args, **kwargs):
        self._note("get", path)
        return super().get_file(path, *args, **kwargs)

    def put_file(self, local, path, *args, **kwargs):
        self._note("put", path)
        return super().put_file(local, path, *args, **kwargs)


@pytest.fixture
def watched(monkeypatch):
    if "watched" not in fsspec.available_protocols():
        fsspec.register_implementation("watched", Watched)
    monkeypatch.setattr(Watched, "store", {})
    monkeypatch.setattr(Watched, "pseudo_dirs", [""])
    monkeypatch.setattr(Watched, "asked", [])
    monkeypatch.setattr(Watched, "before", staticmethod(lambda operation, path: None))
    return Watched


@pytest.fixture
def store(watched):
    return TokenStore("watched://bucket/store")


def examples(count=5):
    return [
        StoredExample(np.arange(2, 2 + i % 3), np.array([300 + i, 1]), i, 0, (), (f"ü {i}",), {"x": np.float32(i)})
        for i in range(count)
    ]


def write(store, name="rte", split="train", fingerprint=A, given=None, parts=PARTS):
    given = examples() if given is None else given
    return store.write(name, split, fingerprint, given, {"parts": parts}, extras={"x": Extra("float32")})


def assert_same(stored, written=None):
    written = examples() if written is None else written
    assert [stored.inputs(i).tolist() for i in range(len(stored))] == [one.inputs.tolist() for one in written]
    assert [stored.extras(i)["x"].item() for i in range(len(stored))] == [one.extras["x"] for one in written]


def files_of(watched):
    return sorted(watched.store)


def test_round_trip_from_memory():
    store = TokenStore(f"memory://{uuid.uuid4()}/store")
    assert_same(write(store))
    opened = TokenStore(store.url + "/").open("rte", "train", A, parts=PARTS)
    assert_same(opened)
    assert store.tasks() == (("rte", "train"),)
    assert store.fingerprints("rte", "train") == (A[:16],)
    assert store.has("rte", "train", A)
    assert not store.has("rte", "train", B)
    assert str(opened.folder) == store.folder("rte", "train", A) == f"{store.url}/rte/train/{A[:16]}"


def test_an_address_of_this_machine_is_a_folder(tmp_path):
    store = TokenStore(f"file://{tmp_path}/store")
    stored = write(store)
    assert store.path == tmp_path / "store"
    assert stored.folder == tmp_path / "store" / "rte" / "train" / A[:16]
    assert_same(TokenStore(tmp_path / "store").open("rte", "train", A))


def test_the_files_are_those_of_a_local_store(tmp_path, watched, store):
    write(store)
    local = write(TokenStore(tmp_path / "store")).folder
    assert {name.rsplit("/", 1)[-1]: file.getvalue() for name, file in watched.store.items()} == {
        file.name: file.read_bytes() for file in local.iterdir()
    }


def test_the_manifest_is_written_last(watched, store):
    write(store)
    put = [path.rsplit("/", 1)[-1] for operation, path in watched.asked if operation == "put"]
    assert put[-1] == "manifest.json"
    assert sorted(put) == ["data-00000-of-00001.arrow", "dataset_info.json", "manifest.json", "state.json"]


def test_hugging_face_datasets_opens_it():
    datasets = pytest.importorskip("datasets")
    stored = write(TokenStore(f"memory://{uuid.uuid4()}/store"))
    loaded = datasets.load_from_disk(str(stored.folder))
    assert loaded["extra.x"][:] == [0, 1, 2, 3, 4]


def test_a_second_opening_fetches_nothing(watched, store, cache):
    write(store)
    watched.asked.clear()
    (opened,) = store.open_many([("rte", "train", A, PARTS)])
    assert_same(opened)
    assert [operation for operation, _ in watched.asked].count("get") == 1
    watched.asked.clear()
    assert_same(TokenStore(store.url).open_many([("rte", "train", A, PARTS)])[0])
    assert {operation for operation, _ in watched.asked} == {"ls"}
    (file,) = (cache / "files").glob("*/*")
    assert file.name == opened.manifest["files"][ARROW_FILE]["blake2b"] + ".arrow"
    assert file == opened.fetch()


def test_equal_tasks_are_fetched_once(watched, store):
    write(store, "one")
    write(store, "two")
    watched.asked.clear()
    for name in ("one", "two"):
        assert_same(store.open(name, "train", A))
    assert [operation for operation, _ in watched.asked].count("get") == 1


def test_what_is_written_anew_is_read_anew(watched, store):
    write(store)
    assert_same(store.open("rte", "train", A))
    watched.store.clear()
    assert not store.has("rte", "train", A)
    write(store, given=examples(3))
    assert_same(store.open("rte", "train", A), examples(3))


def test_many_are_opened_at_once(watched, store):
    wanted = [(f"t{i}", "train", A, PARTS) for i in range(8)]
    for i in range(8):
        write(store, f"t{i}", given=examples(i + 1))
    together = threading.Barrier(8)
    meeting = {"ls": together, "get": together}

    def meet(operation, path):
        if operation in meeting:
            meeting[operation].wait(30)  # one after another would never get past

    watched.before = staticmethod(meet)
    opened = store.open_many(wanted)
    watched.before = staticmethod(lambda operation, path: None)
    assert [task.name for task in opened] == [name for name, *_ in wanted]
    for i, task in enumerate(opened):
        assert_same(task, examples(i + 1))


@pytest.mark.parametrize("remote", [False, True])
def test_opening_many_fails_as_opening_one_does(watched, tmp_path, remote):
    store = TokenStore("watched://bucket/store" if remote else tmp_path / "store")
    write(store)
    write(store, "cb")
    assert [task.name for task in store.open_many([("cb", "train", A, None), ("rte", "train", None, None)])] == [
        "cb",
        "rte",
    ]
    assert store.open_many([]) == []
    with pytest.raises(UserError, match=r"'cbb'.*Did you mean 'cb'.*flan-jax prepare"):
        store.open_many([("rte", "train", A, None), ("cbb", "train", A, None), ("no", "train", A, None)])
    with pytest.raises(UserError, match=r"It has train\."):
        store.open_many([("rte", "test", A, None)])
    with pytest.raises(UserError, match=r"something else.*changed since: templates\. Run `flan-jax prepare`"):
        store.open_many([("rte", "train", B, {**PARTS, "templates": "t2"})])
    write(store, fingerprint=B, parts={**PARTS, "vocabulary": "v2"})
    with pytest.raises(UserError, match=r"2 ways.*They differ in vocabulary"):
        store.open_many([("rte", "train", None, None)])


def test_a_half_written_task_is_never_read(watched, store):
    killed = KeyboardInterrupt()

    def kill(operation, path):
        if operation == "put" and path.endswith("manifest.json"):
            watched.before = staticmethod(lambda operation, path: None)
            # No clearing up either: the process is gone.
            patch.setattr(FsspecBackend, "_remove_unfinished", lambda self, key: None)
            raise killed

    watched.before = staticmethod(kill)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        write(store)
    left = files_of(watched)
    assert len(left) == 3
    assert not store.has("rte", "train", A)
    assert store.tasks() == store.fingerprints("rte", "train") == ()
    with pytest.raises(UserError, match="not in the store"):
        store.open("rte", "train", A)

    write(store, fingerprint=B)
    assert set(left) < set(files_of(watched))  # it might still be another writer's
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    for path in left:
        watched.store[path].modified = long_ago
    write(store, fingerprint="c" * 32)
    assert not set(left) & set(files_of(watched))
    assert store.fingerprints("rte", "train") == (B[:16], "c" * 16)


@pytest.mark.parametrize("file", [ARROW_FILE, "manifest.json"])
def test_a_full_store_keeps_nothing(watched, store, cache, file):
    def fill(operation, path):
        if operation == "put" and path.endswith(file):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    watched.before = staticmethod(fill)
    with pytest.raises(UserError, match=r"no room left at watched://bucket/store/rte.*Make some"):
        write(store)
    assert files_of(watched) == []
    assert list((cache / "staging").iterdir()) == []


def test_a_store_that_refuses_is_named(watched, store):
    def refuse(operation, path):
        if operation == "put":
            raise PermissionError(errno.EACCES, "Forbidden")

    watched.before = staticmethod(refuse)
    with pytest.raises(UserError, match=r"rte/train/a+ cannot be written \(PermissionError.*credentials"):
        write(store)
    assert files_of(watched) == []


def test_a_network_that_fails_is_not_an_absent_task(watched, store):
    write(store)

    class HttpError(Exception):
        pass

    def fail(operation, path):
        raise HttpError("503, try later\n<html>")

    watched.before = staticmethod(fail)
    with pytest.raises(UserError, match=r"cannot be read \(HttpError: 503, try later\)"):
        store.has("rte", "train", A)
    with pytest.raises(UserError, match=r"cannot be read \(HttpError"):
        store.open_many([("rte", "train", A, None)])


def test_two_writers_at_once_do_no_harm(watched, store):
    other = TokenStore(store.url)

    def interrupt(operation, path):
        if operation == "put" and path.endswith("manifest.json"):
            watched.before = staticmethod(lambda operation, path: None)
            write(other)

    watched.before = staticmethod(interrupt)
    assert_same(write(store))
    assert len(files_of(watched)) == 4
    assert store.has("rte", "train", A, verify="always")


def test_a_writer_that_fails_leaves_another_s_work(watched, store):
    other = TokenStore(store.url)

    def interrupt(operation, path):
        if operation == "put" and path.endswith("manifest.json"):
            watched.before = staticmethod(lambda operation, path: None)
            write(other)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    watched.before = staticmethod(interrupt)
    with pytest.raises(UserError, match="no room left"):
        write(store)
    assert_same(store.open("rte", "train", A, verify="always"))


def test_files_that_another_writer_clears_away_are_written_again(watched, store):
    def steal(operation, path):
        if operation == "put" and path.endswith("manifest.json"):
            watched.before = staticmethod(lambda operation, path: None)
            del watched.store[path.replace("manifest.json", ARROW_FILE)]

    watched.before = staticmethod(steal)
    write(store)
    assert_same(store.open("rte", "train", A, verify="always"))


def test_threads_may_write_the_same_task(watched, store):
    threads = [threading.Thread(target=write, args=(TokenStore(store.url),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert_same(store.open("rte", "train", A, verify="always"))
    assert len(files_of(watched)) == 4


def flip(file):
    raw = bytearray(file.getvalue())
    raw[len(raw) // 2] ^= 0xFF
    file.seek(0)
    file.write(raw)
    file.modified = datetime.datetime.now(datetime.UTC)


def test_a_damaged_file_is_named_and_replaced(watched, store, cache):
    write(store)
    path = next(path for path in watched.store if path.endswith(ARROW_FILE))
    flip(watched.store[path])
    named = (
        rf"watched://bucket/store/rte/train/a+/{ARROW_FILE} does not match its checksum \(blake2b .*prepare --verify"
    )
    with pytest.raises(UserError, match=named):
        store.open("rte", "train", A, verify="always")
    with pytest.raises(UserError, match=named):
        store.open_many([("rte", "train", A, None)])
    assert [file for file in cache.rglob("*") if file.suffix == ".arrow"] == []
    assert store.has("rte", "train", A)
    assert not store.has("rte", "train", A, verify="always")
    assert_same(write(store))
    assert store.has("rte", "train", A, verify="always")

    watched.store[path].truncate(100)
    with pytest.raises(UserError, match=r"has 100 bytes instead of \d+.*blake2b"):
        store.open("rte", "train", A)
    del watched.store[path]
    with pytest.raises(UserError, match=rf"{ARROW_FILE} is missing.*prepare --verify"):
        store.open("rte", "train", A)
    assert_same(write(store))


def test_a_damaged_cache_is_fetched_again(watched, store):
    write(store)
    cached = store.open("rte", "train", A).fetch()
    cached.write_bytes(b"x" * cached.stat().st_size)
    assert_same(store.open("rte", "train", A))
    cached.write_bytes(b"short")
    assert_same(store.open("rte", "train", A))


def test_a_cache_that_cannot_be_written_to_is_named(watched, store, tmp_path, monkeypatch):
    write(store)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLAN_JAX_CACHE", str(tmp_path / "file"))
    opened = store.open("rte", "train", A)
    with pytest.raises(UserError, match=r"The cache .*file cannot be written to.*FLAN_JAX_CACHE"):
        opened.inputs(0)
    with pytest.raises(UserError, match=r"The cache .*file cannot be written to.*FLAN_JAX_CACHE"):
        write(store, "cb")


def test_a_full_cache_is_named(watched, store, monkeypatch, cache):
    write(store)

    def full(operation, path):
        if operation == "get":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    watched.before = staticmethod(full)
    with pytest.raises(UserError, match=r"The cache .* \(No space left.*FLAN_JAX_CACHE"):
        store.open("rte", "train", A).fetch()
    assert [file for file in (cache / "files").rglob("*") if file.is_file()] == []

    monkeypatch.setattr("flan_jax.store.store.write_arrow", lambda *args, **kwargs: full("get", ""))
    with pytest.raises(UserError, match=r"The cache .* \(No space left"):
        write(store, "cb")


def test_the_cache_is_found_as_is_usual(monkeypatch, tmp_path, watched, store):
    write(store)
    monkeypatch.delenv("FLAN_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.open("rte", "train", A).fetch().is_relative_to(tmp_path / "xdg" / "flan_jax" / "files")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert store.open("rte", "train", A).fetch().is_relative_to(tmp_path / "home" / ".cache" / "flan_jax" / "files")


@pytest.mark.parametrize(
    ("says", "ends"),
    [
        ("Install s3fs to access S3", r"\(Install s3fs to access S3\): pip install 'flan-jax\[s3\]' brings it\.$"),
        ("Please install gcsfs to access Google Storage", r"pip install 'flan-jax\[gcs\]' brings it\.$"),
        ("Install adlfs to access Azure", r"not installed \(Install adlfs to access Azure\)\.$"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(says: str, ends: str, monkeypatch):
    def missing(url: str) -> None:
        raise ImportError(says)

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=ends):
        FsspecBackend("s3://bucket/store")


def test_an_unknown_protocol_is_one_sentence():
    with pytest.raises(UserError, match=r"Unknown protocol 'memry'\. Did you mean 'memory'.*memry://x"):
        TokenStore("memry://x")


def test_a_missing_package_is_one_sentence(monkeypatch):
    gone = {"class": "package_that_is_not_there.Files", "err": "Please install it to read glaciers"}
    monkeypatch.setitem(known_implementations, "glacier", gone)
    with pytest.raises(UserError, match=r"The store glacier://x needs a package.*Please install it to read glaciers"):
        TokenStore("glacier://x")


def test_errors_show_no_password(watched):
    store = TokenStore("watched://me:secret@bucket/store")
    with pytest.raises(UserError, match=r"watched://bucket/store") as raised:
        store.open("rte", "train", A)
    assert "secret" not in str(raised.value)


def test_a_remote_store_travels_by_its_address(watched, store):
    write(store)
    assert_same(pickle.loads(pickle.dumps(store)).open("rte", "train", A))
    opened = store.open("rte", "train", A)
    assert_same(opened)
    assert_same(pickle.loads(pickle.dumps(opened)))
    with pytest.raises(ValueError, match="no folder of this machine"):
        _ = store.path


def test_names_of_third_parties_stay_inside(watched, store):
    for name in ("my/task:v1", "..", "50%"):
        write(store, name)
        assert_same(store.open(name, "train", A))
    assert [name for name, _ in store.tasks()] == ["..", "50%", "my/task:v1"]
    assert all(path.startswith("/bucket/store/") for path in watched.store)


def test_a_store_may_be_the_root_of_a_file_system(watched):
    store = TokenStore("watched://")
    with contextlib.suppress(UserError):
        store.open("nothing", "here", A)
    assert_same(write(store))
    assert store.tasks() == (("rte", "train"),)
    assert store.folder("rte", "train", A) == f"watched://rte/train/{A[:16]}"
