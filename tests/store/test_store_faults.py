import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flan_jax.errors import UserError
from flan_jax.store.arrow import ArrowTokens
from flan_jax.store.schema import schema
from flan_jax.store.store import Extra, StoredExample, TokenStore

A = "a" * 32
ARROW_FILE = "data-00000-of-00001.arrow"


def examples(count=5):
    return [StoredExample(np.arange(2, 2 + i % 3), np.array([300 + i, 1]), i, 0, ("a",), ("b",)) for i in range(count)]


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


@pytest.fixture
def folder(store):
    return store.write("t", "train", A, examples(), {}).folder


def left_in(store):
    return sorted(str(path.relative_to(store.path)) for path in store.path.rglob("*"))


# Disks that take no more.

_FILL = """
import resource, sys
import numpy as np
from flan_jax.errors import UserError
from flan_jax.store import arrow
from flan_jax.store.store import StoredExample, TokenStore
arrow.CHUNK_EXAMPLES = 50
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
given = (StoredExample(np.arange(100), np.arange(100), i) for i in range(100_000))
try:
    TokenStore(sys.argv[1]).write("t", "train", "a" * 32, given, {"vocabulary_size": 1000})
except UserError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("where", ["store", "cache"])
def test_a_file_that_may_not_grow_leaves_nothing(tmp_path, where):
    pytest.importorskip("resource")
    address = str(tmp_path / "store") if where == "store" else "memory://store"
    cache = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", _FILL, address],
        capture_output=True, text=True, timeout=120, env={**os.environ, "FLAN_JAX_CACHE": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if where == "store":
        assert "UserError Task 't', split 'train': the disk is full, so nothing was added to the store" in done.stdout
        assert left_in(TokenStore(tmp_path / "store")) == []
    else:
        assert f"The cache {cache} cannot be written to (File too large). Set FLAN_JAX_CACHE" in done.stdout
        assert list((cache / "staging").iterdir()) == []


@pytest.mark.parametrize("file", ["state.json", "dataset_info.json", "manifest.json"])
def test_a_disk_that_fills_up_midway_leaves_nothing(store, monkeypatch, file):
    for method in ("write_text", "write_bytes"):
        write = getattr(Path, method)

        def fill(path, data, *args, _write=write, **kwargs):
            if path.name == file:
                _write(path, data[:10], *args, **kwargs)
                raise OSError(28, os.strerror(28))
            return _write(path, data, *args, **kwargs)

        monkeypatch.setattr(Path, method, fill)
    with pytest.raises(UserError, match=r"'t', split 'train': the disk is full.*Free some space"):
        store.write("t", "train", A, examples(), {})
    assert left_in(store) == []


def test_a_store_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/store cannot be written to \(Not a directory\).*--store"):
        TokenStore(tmp_path / "file" / "store").write("t", "train", A, examples(), {})
    if os.path.isdir("/proc/self"):
        with pytest.raises(UserError, match=r"/proc/store cannot be written to \(.*\).*--store"):
            TokenStore("/proc/store").write("t", "train", A, examples(), {})


# The same bytes.

_WRITE = """
import sys
import numpy as np
from flan_jax.store import arrow
from flan_jax.store.store import Extra, StoredExample, TokenStore
arrow.CHUNK_EXAMPLES = 3
turned = sys.argv[2] == "turned"
def order(given):
    return dict(reversed(given.items())) if turned else given
extras = {"x": Extra("bool", 1), "a": Extra("string", 2), "n": Extra("float32"), "b": Extra("bytes")}
given = [
    StoredExample(
        np.arange(i), np.arange(2 * i), i, i % 2, ("yes",) * (i % 3), ("ü",),
        order({"x": [True] * i, "a": [["z"] * i], "n": i / 7, "b": bytes(i)}),
    )
    for i in range(10)
]
manifest = order({"parts": order({"vocabulary": "v", "templates": "t"}), "truncated": 3})
TokenStore(sys.argv[1]).write("t", "train", "a" * 32, given, manifest, extras=order(extras))
"""


def test_every_run_writes_the_same_bytes(tmp_path):
    digests = []
    for i, order in enumerate(["given", "turned"]):
        environment = {**os.environ, "PYTHONHASHSEED": str(i), "HOSTNAME": f"host{i}", "TZ": f"UTC+{i}"}
        path = str(tmp_path / f"store{i}")
        subprocess.run([sys.executable, "-c", _WRITE, path, order], check=True, timeout=120, env=environment)
        files = {file.name: file.read_bytes() for file in sorted(Path(path, "t", "train", A[:16]).iterdir())}
        digests.append({name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
    assert len(digests[0]) == 4
    assert digests[0] == digests[1]


# Files that are something else.


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b'{"format": 1,', "is not JSON"),
        (b"[]", "is no JSON object"),
        (b"{}", "has the format None; this version reads 1"),
        (b'{"format": 2}', "has the format 2; this version reads 1"),
        (b'{"format": 1}', "has no valid 'name'"),
    ],
)
def test_a_manifest_that_is_none_is_named(store, folder, raw, sentence):
    (folder / "manifest.json").write_bytes(raw)
    with pytest.raises(UserError, match=rf"{folder}/manifest\.json .*{sentence}.*flan-jax prepare"):
        store.open("t", "train", A)
    assert not store.has("t", "train", A)
    store.write("t", "train", A, examples(), {})  # and is replaced
    assert len(store.open("t", "train", A)) == 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, None) for key in ("name", "split", "fingerprint", "num_examples", "input_tokens", "token_type", "files")),
        ("num_examples", "5"),
        ("files", {}),
        ("files", {ARROW_FILE: 7}),
        ("files", {ARROW_FILE: {"bytes": 7, "blake2b": "../../../etc/passwd"}}),
        ("files", {ARROW_FILE: {"bytes": 7, "blake2b": "0" * 32}, "../x": {"bytes": 7, "blake2b": "0" * 32}}),
        ("extras", {"x": {"dtype": "int33", "rank": 0}}),
        ("extras", {"x": "int32"}),
        ("extras", 3),
    ],
)  # fmt: skip
def test_a_manifest_that_lacks_a_value_names_it(store, folder, key, value):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    if value is None:
        del manifest[key]
    else:
        manifest[key] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf"manifest\.json is damaged \(it has no valid '{key}'\)\. .*flan-jax prepare"):
        store.open("t", "train", A)


def put_instead(folder, table_schema, columns):
    """Another Arrow file with a manifest that takes it for its own."""
    with pa.OSFile(str(folder / ARROW_FILE), "wb") as sink, pa.ipc.new_stream(sink, table_schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table_schema))
    raw = (folder / ARROW_FILE).read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][ARROW_FILE] = {"bytes": len(raw), "blake2b": hashlib.blake2b(raw, digest_size=16).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def lists(offsets, values, kind="uint16"):
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.array(values, kind)))


def columns_of(inputs, targets):
    rows = len(inputs)
    words = pa.array([["a"]] * rows, pa.list_(pa.string()))
    return [inputs, targets, pa.array(range(rows), pa.int64()), pa.array([0] * rows, pa.int32()), words, words]


def test_an_arrow_file_of_other_columns_is_named(store, folder):
    put_instead(folder, pa.schema([("text", pa.string())]), [pa.array(["a"] * 5)])
    stored = store.open("t", "train", A)  # sizes and checksums are right
    with pytest.raises(
        UserError, match=rf"{ARROW_FILE} cannot be read \(its columns are text: string instead of inputs: .*--verify"
    ):
        stored.inputs(0)


def test_an_arrow_file_of_another_type_is_named(store, folder):
    wide = schema(np.dtype("uint32"))
    put_instead(folder, wide, columns_of(*(lists([0, 1, 2, 3, 4, 5], range(5), "uint32") for _ in range(2))))
    with pytest.raises(UserError, match=r"inputs: list<item: uint32>.* instead of inputs: list<item: uint16>"):
        store.open("t", "train", A).inputs(0)


def test_an_arrow_file_without_a_declared_extra_is_named(tmp_path, store):
    given = [StoredExample([1], [1], extras={"x": 1})]
    folder = store.write("t", "train", A, given, {}, extras={"x": Extra("int32")}).folder
    put_instead(folder, schema(np.dtype("uint8")), columns_of(*(lists([0, 1], [1], "uint8") for _ in range(2))))
    with pytest.raises(UserError, match=r"instead of .*extra\.x: int32"):
        store.open("t", "train", A).extras(0)


@pytest.mark.parametrize(
    ("offsets", "values", "sentence"),
    [
        ([0, 1, 2, 3], 3, "it has 3 examples instead of 5"),
        ([0, 1, 2, 3, 4, 5], 5, "it has 5 tokens on one side instead of 4"),
    ],
)
def test_an_arrow_file_of_another_size_is_named(store, folder, offsets, values, sentence):
    side = lists(offsets, range(values))
    put_instead(folder, schema(np.dtype("uint16")), columns_of(side, side))
    with pytest.raises(
        UserError, match=rf"{ARROW_FILE} cannot be read \({sentence}\)\. Run `flan-jax prepare --verify`"
    ):
        store.open("t", "train", A).inputs(0)


@pytest.mark.parametrize("offsets", [[0, 1, 4, 2, 3, 4], [0, 9, 2, 3, 4, 4], [-1, 0, 0, 0, 0, 3], [0, 1, 2, 3, 4, 9]])
def test_offsets_that_point_outside_are_named(store, folder, offsets):
    fine = np.array([0, 0, 1, 3, 3, 4], np.int32).tobytes()  # those of five examples of 0, 1, 2, 0, 1 inputs
    raw = (folder / ARROW_FILE).read_bytes()
    assert raw.count(fine) == 1
    (folder / ARROW_FILE).write_bytes(raw.replace(fine, np.array(offsets, np.int32).tobytes()))
    with pytest.raises(UserError, match=rf"{ARROW_FILE} cannot be read .*--verify"):
        store.open("t", "train", A, verify="never").inputs(0)


def test_a_whole_file_passes_the_checks(folder, store):
    tokens = ArrowTokens(folder / ARROW_FILE, np.dtype("uint16"))
    tokens.check(examples=5, input_tokens=4, target_tokens=10)
    with pytest.raises(ValueError, match="10 tokens on one side instead of 11"):
        tokens.check(examples=5, input_tokens=4, target_tokens=11)


def test_a_file_that_is_no_arrow_is_named(store, folder):
    (folder / ARROW_FILE).write_bytes(b"x" * (folder / ARROW_FILE).stat().st_size)
    with pytest.raises(UserError, match=rf"{ARROW_FILE} cannot be read"):
        store.open("t", "train", A, verify="never").inputs(0)
