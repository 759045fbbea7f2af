import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flan_jax.errors import UserError
from flan_jax.store import arrow
from flan_jax.store.extras import NUMBERS, approx_bytes
from flan_jax.store.store import Extra, StoredExample, TokenStore

A = "a" * 32


def plain(extras, index=0):
    return StoredExample(np.array([3, 1]), np.array([1]), index, extras=extras)


def values_of(dtype):
    if dtype == "string":
        return st.text(max_size=5)
    if dtype == "bytes":
        return st.binary(max_size=5)
    return hnp.from_dtype(np.dtype(dtype))


def extras_of(dtype, rank):
    if rank == 0:
        return values_of(dtype)
    if rank == 2:
        return st.lists(extras_of(dtype, 1), max_size=3)
    lists = st.lists(values_of(dtype), max_size=4)
    return lists if dtype in ("string", "bytes") else lists.map(lambda values: np.array(values, dtype))


@st.composite
def columns(draw):
    """Declared extras, and examples that have them."""
    kinds = st.builds(Extra, st.sampled_from([*NUMBERS, "string", "bytes"]), st.integers(0, 2))
    declared = draw(st.dictionaries(st.text(min_size=1, max_size=4), kinds, max_size=4))
    one = st.fixed_dictionaries({name: extras_of(extra.dtype, extra.rank) for name, extra in declared.items()})
    return declared, draw(st.lists(one, max_size=6))


def assert_equal_value(got, written, extra):
    if extra.rank == 2:
        assert isinstance(got, list)
        assert len(got) == len(written)
        for one, other in zip(got, written, strict=True):
            assert_equal_value(one, other, Extra(extra.dtype, 1))
        return
    assert isinstance(got, np.ndarray)
    assert got.ndim == extra.rank
    if extra.is_text:
        assert got.dtype == object
        wanted = [text.encode() if isinstance(text, str) else text for text in ([written] if not got.ndim else written)]
        assert got.reshape(-1).tolist() == wanted
        assert all(type(text) is bytes for text in got.reshape(-1))
    else:
        assert got.dtype == np.dtype(extra.dtype)
        np.testing.assert_array_equal(got, written)
        if got.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(got)[~np.isnan(got)], np.signbit(written)[~np.isnan(written)])


@given(columns())
def test_any_extra_comes_back(tmp_path_factory, declared_and_written):
    declared, written = declared_and_written
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "CHUNK_EXAMPLES", 2)  # several record batches
        store = TokenStore(tmp_path_factory.mktemp("extras"))
        store.write("t", "train", A, [plain(one, i) for i, one in enumerate(written)], {}, extras=declared)
    stored = store.open("t", "train", A)
    assert stored.extra_types == declared
    for i, one in enumerate(written):
        got = stored.extras(i)
        assert set(got) == set(declared)
        assert set(stored.example(i).extras) == set(declared)
        for name, extra in declared.items():
            assert_equal_value(got[name], one[name], extra)


SAMPLE = {
    "weight": (Extra("float32"), 0.25),
    "label": (Extra("int32"), np.int64(-3)),
    "big": (Extra("int64", 1), [2**62, -(2**62)]),
    "flags": (Extra("bool", 1), (True, False)),
    "question": (Extra("string"), "où est «zoë»? 日本"),
    "image": (Extra("bytes"), b"\xff\x00\x01"),
    "answers": (Extra("string", 1), np.array(["a", b"b\xc3\xbc"], object)),
    "spans": (Extra("int32", 2), [[1, 2], [], [3]]),
    "grid": (Extra("float32", 2), np.arange(6.0).reshape(2, 3)),
    "none": (Extra("float32", 1), []),
    "groups": (Extra("string", 2), [["ä"], []]),
}


@pytest.fixture
def stored(tmp_path):
    examples = [plain({name: value for name, (_, value) in SAMPLE.items()}, i) for i in range(3)]
    declared = {name: extra for name, (extra, _) in SAMPLE.items()}
    return TokenStore(tmp_path / "store").write("t", "validation", A, examples, {}, extras=declared)


def test_plain_values_and_lists_are_accepted(stored):
    got = stored.extras(2)
    assert got["weight"][()] == np.float32(0.25)
    assert got["label"].dtype == np.int32
    assert got["label"].item() == -3
    assert got["question"].item().decode() == "où est «zoë»? 日本"
    assert got["image"].item() == b"\xff\x00\x01"
    assert got["answers"].tolist() == [b"a", "bü".encode()]
    assert [row.tolist() for row in got["spans"]] == [[1, 2], [], [3]]
    assert [row.tolist() for row in got["grid"]] == [[0, 1, 2], [3, 4, 5]]
    assert (got["none"].dtype, got["none"].shape) == (np.float32, (0,))
    assert [row.tolist() for row in got["groups"]] == [["ä".encode()], []]


def test_lists_of_numbers_are_views_of_the_file(stored):
    assert not stored.extras(0)["big"].flags.owndata
    assert not stored.extras(0)["big"].flags.writeable


def test_the_manifest_and_the_schema_have_them(stored):
    assert stored.manifest["extras"]["spans"] == {"dtype": "int32", "rank": 2}
    with pa.memory_map(str(stored.folder / arrow_file(stored))) as source:
        schema = pa.ipc.open_stream(source).schema
    assert schema.names[6:] == [f"extra.{name}" for name in sorted(SAMPLE)]
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["extra.image"] == {"dtype": "binary", "_type": "Value"}
    assert features["extra.big"] == {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "Sequence"}


def arrow_file(stored):
    return next(name for name in stored.manifest["files"] if name.endswith(".arrow"))


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        (Extra("int32"), 1.5),
        (Extra("int8"), 200),
        (Extra("uint8"), -1),
        (Extra("int64"), np.uint64(2**63)),
        (Extra("float32"), 1e300),
        (Extra("float32"), "1"),
        (Extra("float32", 1), 1.0),
        (Extra("float32"), [1.0]),
        (Extra("float32", 1), [[1.0]]),
        (Extra("float32", 1), [1.0, [2.0]]),
        (Extra("float32", 2), [1.0]),
        (Extra("bool"), 1),
        (Extra("int32"), None),
        (Extra("string"), 3),
        (Extra("string"), b"\xff"),
        (Extra("string"), "\ud800"),
        (Extra("string", 1), "letters"),
        (Extra("string", 1), [["a"]]),
        (Extra("bytes"), "text"),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path, extra, value):
    good = {
        "string": ["a", ["a"], [["a"]]],
        "bytes": [b"a", [b"a"], [[b"a"]]],
        "bool": [True, [True], [[True]]],
    }.get(extra.dtype, [1, [1], [[1]]])[extra.rank]
    store = TokenStore(tmp_path)
    with pytest.raises(UserError, match=rf"'t'.*example 1, extra 'x'.*type {extra.dtype} and rank {extra.rank}"):
        store.write("t", "train", A, [plain({"x": good}), plain({"x": value}, 1)], {}, extras={"x": extra})
    assert not store.has("t", "train", A)


def test_extras_are_exactly_those_declared(tmp_path):
    store = TokenStore(tmp_path)
    declared = {"answer": Extra("string")}
    with pytest.raises(UserError, match=r"example 0 has no extra 'answer'"):
        store.write("t", "train", A, [plain({})], {}, extras=declared)
    with pytest.raises(UserError, match=r"Unknown extra 'answr'\. Did you mean 'answer'"):
        store.write("t", "train", A, [plain({"answer": "a", "answr": "b"})], {}, extras=declared)
    with pytest.raises(UserError, match="has no name"):
        store.write("t", "train", A, [], {}, extras={"": Extra("bool")})


@pytest.mark.parametrize(("dtype", "rank"), [("complex64", 0), ("int33", 1), ("int32", 3), ("object", 0)])
def test_a_type_that_cannot_be_stored_is_refused(dtype, rank):
    with pytest.raises(UserError):
        Extra(dtype, rank)


def test_large_extras_fill_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "CHUNK_TOKENS", 100)
    examples = [plain({"x": np.zeros(20, np.float32)}, i) for i in range(6)]
    stored = TokenStore(tmp_path).write("t", "train", A, examples, {}, extras={"x": Extra("float32", 1)})
    assert len(stored.tokens.starts) == 4  # two examples of 83 a chunk
    assert stored.extras(5)["x"].shape == (20,)


def test_sizes_count_what_is_nested():
    assert approx_bytes([["ab", "c"], []]) == 3
    assert approx_bytes(np.zeros((2, 3), np.int16)) == 12
    assert approx_bytes(np.array(["ab", b"c"], object)) == 3
    assert approx_bytes(1.0) == approx_bytes(np.float32(1)) == 8


def test_hugging_face_datasets_opens_them(stored):
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_from_disk(str(stored.folder))
    assert loaded.split == "validation"
    assert loaded.info.dataset_name == "t"
    assert loaded.features["extra.weight"] == datasets.Value("float32")
    assert loaded.features["extra.spans"] == datasets.List(datasets.List(datasets.Value("int32")))
    assert loaded.data.schema.names == list(loaded.features)
    row = loaded[1]
    assert row["extra.question"] == "où est «zoë»? 日本"
    assert row["extra.image"] == b"\xff\x00\x01"
    assert row["extra.answers"] == ["a", "bü"]
    assert row["extra.spans"] == [[1, 2], [], [3]]
    assert row["extra.none"] == []
    assert row["extra.flags"] == [True, False]
