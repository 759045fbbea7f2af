import json
import multiprocessing
import os
import shutil
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.store import arrow
from flan_jax.store.manifest import encode_manifest
from flan_jax.store.store import ARROW_FILE, StoredExample, TokenStore, smallest_uint_type

A, B = "a" * 32, "b" * 32
PARTS = {"vocabulary": "v1", "templates": "t1", "lengths": "512/128"}


def examples(count=5, offset=0):
    return [
        StoredExample(
            np.arange(2, 2 + i % 3 + offset),
            np.array([300 + i, 1]),
            i,
            i % 2,
            ("yes", "no")[: i % 3],
            (f"ünï {i}", "b"),
        )
        for i in range(count)
    ]


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


def assert_same(stored, written):
    assert len(stored) == len(written)
    for i, one in enumerate(written):
        got = stored.example(i)
        assert got.inputs.tolist() == list(one.inputs)
        assert got.targets.tolist() == list(one.targets)
        assert (got.example_id, got.template_id, got.options, got.references) == (
            one.example_id,
            one.template_id,
            one.options,
            one.references,
        )
    assert stored.input_lengths.tolist() == [len(one.inputs) for one in written]
    assert stored.target_lengths.tolist() == [len(one.targets) for one in written]


def test_round_trip(store):
    written = examples(7)
    stored = store.write("rte", "train", A, written, {"parts": PARTS, "truncated": 3})
    assert_same(stored, written)
    opened = TokenStore(store.path).open("rte", "train", A, verify="always")
    assert_same(opened, written)
    assert opened.manifest["truncated"] == 3
    assert (opened.manifest["max_input_length"], opened.manifest["max_target_length"]) == (2, 2)
    assert (opened.manifest["input_tokens"], opened.manifest["target_tokens"]) == (6, 14)
    assert store.tasks() == (("rte", "train"),)


tokens = st.lists(st.integers(0, 2**32 - 1), max_size=6)
stored_examples = st.builds(
    lambda a, b, i, t, o, r: StoredExample(np.array(a, np.int64), np.array(b, np.int64), i, t, tuple(o), tuple(r)),
    tokens,
    tokens,
    st.integers(0, 2**62),
    st.integers(0, 2**31 - 1),
    st.lists(st.text(max_size=4), max_size=3),
    st.lists(st.text(max_size=4), max_size=3),
)


@given(st.lists(stored_examples, max_size=9))
def test_any_example_comes_back(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "CHUNK_EXAMPLES", 4)  # several record batches
        stored = TokenStore(folder).write("t", "train", A, written, {})
    assert_same(stored, written)


@pytest.mark.parametrize(("largest", "kind"), [(255, "uint8"), (256, "uint16"), (65_535, "uint16"), (65_536, "uint32")])
def test_tokens_take_the_narrowest_type(store, largest, kind):
    one = StoredExample(np.array([largest]), np.array([0]))
    assert store.write("t", "train", A, [one], {}).inputs(0).dtype == kind
    assert store.write("t", "train", B, [one], {"vocabulary_size": largest + 1}).inputs(0).dtype == kind
    assert smallest_uint_type(largest) == kind


def test_an_example_needs_no_more_than_its_tokens(store):
    stored = store.write("t", "train", A, [StoredExample(np.array([7, 1]), np.array([8, 1]))], {})
    assert (stored.example_ids.tolist(), stored.template_ids.tolist()) == ([0], [0])
    assert (stored.options(0), stored.references(0), stored.extras(0)) == ((), (), {})


def test_token_ids_out_of_range_are_refused(store):
    with pytest.raises(UserError, match=r"'t'.*token id 7 is outside the vocabulary of 7"):
        store.write("t", "train", A, [StoredExample(np.array([7]), np.array([0]))], {"vocabulary_size": 7})
    with pytest.raises(UserError, match=r"-1 is negative"):
        store.write("t", "train", A, [StoredExample(np.array([7, -1, 3]), np.array([0]))], {})
    assert not store.has("t", "train", A)


def test_tokens_are_views_of_the_file(store):
    stored = store.write("t", "train", A, examples(), {})
    assert not stored.inputs(2).flags.owndata
    assert not stored.inputs(2).flags.writeable
    assert np.shares_memory(stored.inputs(2), stored.tokens.inputs.values[0])


def test_many_open_tasks_hold_no_file_descriptors(store):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    opened = [store.write(f"t{i}", "train", A, examples(), {}) for i in range(20)]
    assert all(task.inputs(0).size == 0 for task in opened)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_plain_pyarrow_opens_it(store):
    written = examples(6)
    stored = store.write("rte", "train", A, written, {})
    with pa.memory_map(str(stored.folder / ARROW_FILE)) as source:
        table = pa.ipc.open_stream(source).read_all()
    assert table.column_names == ["inputs", "targets", "example_id", "template_id", "options", "references"]
    assert table["targets"].to_pylist() == [one.targets.tolist() for one in written]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["inputs"] == {"feature": {"dtype": "uint16", "_type": "Value"}, "_type": "Sequence"}
    assert features == json.loads((stored.folder / "dataset_info.json").read_text())["features"]
    assert json.loads((stored.folder / "state.json").read_text())["_data_files"] == [{"filename": ARROW_FILE}]


def test_hugging_face_datasets_opens_it(store):
    datasets = pytest.importorskip("datasets")
    written = examples(6)
    stored = store.write("rte", "train", A, written, {})
    loaded = datasets.load_from_disk(str(stored.folder))
    assert loaded["inputs"][:] == [one.inputs.tolist() for one in written]
    assert loaded[5]["references"] == list(written[5].references)


def test_equal_work_is_byte_identical(store, tmp_path):
    one = store.write("rte", "train", A, examples(), {"parts": PARTS}).folder
    other = TokenStore(tmp_path / "other").write("rte", "train", A, iter(examples()), {"parts": PARTS}).folder
    names = sorted(file.name for file in one.iterdir())
    assert names == sorted(file.name for file in other.iterdir())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_a_manifest_is_the_same_bytes_whatever_the_order_of_its_values():
    expected = b'{\n  "a": {\n    "c": 3,\n    "d": 2\n  },\n  "b": 1\n}\n'
    assert (
        encode_manifest({"b": 1, "a": {"d": 2, "c": 3}}) == encode_manifest({"a": {"c": 3, "d": 2}, "b": 1}) == expected
    )


def test_names_of_third_parties_stay_inside_the_store(store):
    for name in ("my/task:v1", "..", "../../x"):
        stored = store.write(name, "train", A, examples(), {})
        assert store.path.resolve() in stored.folder.resolve().parents
        assert len(stored.folder.relative_to(store.path).parts) == 3
    assert [name for name, _ in store.tasks()] == ["..", "../../x", "my/task:v1"]


def test_a_task_that_is_missing_names_the_remedy(store):
    store.write("sentiment140", "train", A, examples(), {})
    with pytest.raises(UserError, match=r"Did you mean 'sentiment140'.*flan-jax prepare"):
        store.open("sentimnt140", "train")
    with pytest.raises(UserError, match=r"It has train\. Run `flan-jax prepare`"):
        store.open("sentiment140", "test")


def test_another_fingerprint_names_what_changed(store):
    store.write("rte", "train", A, examples(), {"parts": PARTS})
    wanted = {**PARTS, "templates": "t2", "vocabulary": "v2"}
    with pytest.raises(
        UserError, match=r"something else.*changed since: templates, vocabulary\. Run `flan-jax prepare`"
    ):
        store.open("rte", "train", B, parts=wanted)
    with pytest.raises(UserError, match=r"something else .*wanted aaaaaaaaaaaaaaaa"):
        store.open("rte", "train", A[:16] + B)  # equal in the folder's name only
    assert not store.has("rte", "train", B)
    assert not store.has("rte", "train", A[:16] + B)


def test_several_fingerprints_must_be_told_apart(store):
    store.write("rte", "train", A, examples(), {"parts": PARTS})
    assert store.open("rte", "train").fingerprint == A
    store.write("rte", "train", B, examples(), {"parts": {**PARTS, "lengths": "64/16"}})
    with pytest.raises(UserError, match=r"2 ways.*They differ in lengths"):
        store.open("rte", "train")
    assert store.open("rte", "train", B).fingerprint == B
    for letter in "fdce":
        store.write("rte", "train", letter * 32, examples(), {})
    assert store.fingerprints("rte", "train") == tuple(letter * 16 for letter in "abcdef")


def failing(after):
    yield from examples(after)
    raise RuntimeError("killed")


def test_an_interrupted_writer_leaves_nothing_behind(store, monkeypatch):
    monkeypatch.setattr(arrow, "CHUNK_EXAMPLES", 2)
    with pytest.raises(RuntimeError, match="killed"):
        store.write("rte", "train", A, failing(5), {"vocabulary_size": 1000})
    assert not store.has("rte", "train", A)
    assert store.tasks() == ()
    assert list(store.path.iterdir()) == []


def _killed_while_writing(path):
    def suicidal():
        yield from examples(5)
        os._exit(9)

    arrow.CHUNK_EXAMPLES = 2
    TokenStore(path).write("rte", "train", A, suicidal(), {"vocabulary_size": 1000})


def test_a_killed_writer_leaves_nothing_that_is_read(store):
    process = multiprocessing.get_context("spawn").Process(target=_killed_while_writing, args=(store.path,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    (left,) = (store.path / "rte" / "train").iterdir()
    assert not store.has("rte", "train", A)
    with pytest.raises(UserError, match="not in the store"):
        store.open("rte", "train")
    store.write("rte", "train", A, examples(), {})
    assert left.exists()  # it might still be another writer's
    os.utime(left, (time.time() - 2 * 86_400,) * 2)
    store.write("rte", "train", "c" * 32, examples(), {})
    assert left.exists()  # a file in it still grows
    os.utime(left / ARROW_FILE, (time.time() - 2 * 86_400,) * 2)
    store.write("rte", "train", B, examples(), {})
    assert not left.exists()


def test_two_writers_at_once_do_no_harm(store):
    def interrupted_by_another():
        yield from examples(3)
        store.write("rte", "train", A, examples(), {"parts": PARTS})
        yield from examples()[3:]

    stored = store.write("rte", "train", A, interrupted_by_another(), {"parts": PARTS})
    assert_same(stored, examples())
    assert [entry.name for entry in stored.folder.parent.iterdir()] == [A[:16]]


def _write_often(path, barrier):
    barrier.wait(60)
    for i in range(15):
        TokenStore(path).write(f"t{i}", "train", A, examples(), {"parts": PARTS})


def test_two_processes_may_prepare_the_same_tasks(store):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_write_often, args=(store.path, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(store.tasks()) == 15
    for name, split in store.tasks():
        assert_same(store.open(name, split, A, verify="always"), examples())
        assert len(list((store.path / name / split).iterdir())) == 1


@pytest.mark.parametrize("file", [ARROW_FILE, "state.json", "dataset_info.json"])
def test_a_damaged_file_is_named_with_the_remedy(store, file):
    path = store.write("rte", "train", A, examples(), {}).folder / file
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(UserError, match=rf"{file} does not match its checksum.*flan-jax prepare"):
        store.open("rte", "train", A, verify="always")
    path.write_bytes(whole[:-3])
    with pytest.raises(
        UserError, match=rf"{file} has {len(whole) - 3} bytes instead of {len(whole)}.*flan-jax prepare"
    ):
        store.open("rte", "train", A)
    assert not store.has("rte", "train", A)
    path.unlink()
    with pytest.raises(UserError, match=rf"{file} is missing"):
        store.open("rte", "train", A)
    assert_same(store.write("rte", "train", A, examples(), {}), examples())  # writing again repairs
    store.open("rte", "train", A, verify="always")


def test_a_damaged_manifest_is_named(store):
    path = store.write("rte", "train", A, examples(), {}).folder / "manifest.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        store.open("rte", "train", A)
    path.unlink()
    with pytest.raises(UserError, match=r"has no manifest\.json"):
        store.open("rte", "train", A)
    path.write_text(json.dumps({"format": 99, "files": {}}))
    with pytest.raises(UserError, match="format 99"):
        store.open("rte", "train", A)


def test_a_file_that_is_no_arrow_is_named(store):
    folder = store.write("rte", "train", A, examples(), {}).folder
    size = (folder / ARROW_FILE).stat().st_size
    (folder / ARROW_FILE).write_bytes(b"x" * size)
    stored = store.open("rte", "train", A, verify="never")
    with pytest.raises(UserError, match=r"arrow cannot be read"):
        stored.inputs(0)


@pytest.mark.parametrize(("number", "sentence"), [(28, "disk is full"), (30, "cannot be written to")])
def test_a_disk_that_takes_no_more_is_the_user_s_to_mend(store, monkeypatch, number, sentence):
    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("flan_jax.store.store.write_arrow", refuse)
    with pytest.raises(UserError, match=sentence):
        store.write("rte", "train", A, examples(), {})
    assert list(store.path.iterdir()) == []


def test_a_source_that_cannot_be_read_is_not_blamed_on_the_store(store):
    def unreadable():
        raise PermissionError(13, "Permission denied", "source.jsonl")
        yield

    with pytest.raises(PermissionError, match=r"source\.jsonl"):
        store.write("rte", "train", A, unreadable(), {})


def test_an_empty_split_is_stored(store):
    stored = store.write("rte", "test", A, [], {})
    assert len(stored) == 0
    assert stored.input_lengths.size == stored.example_ids.size == 0


def test_an_index_outside_is_an_error(store):
    stored = store.write("rte", "test", A, examples(3), {})
    for index in (-1, 3):
        for read in (stored.inputs, stored.targets, stored.options, stored.references, stored.extras, stored.example):
            with pytest.raises(IndexError, match=f"example {index} of 'rte', which has 3"):
                read(index)


def test_a_deleted_store_is_missing(store):
    store.write("rte", "test", A, examples(3), {})
    shutil.rmtree(store.path)
    assert not store.has("rte", "test", A)
    with pytest.raises(UserError, match="flan-jax prepare"):
        store.open("rte", "test")


def test_nothing_stays_where_nothing_came_of_it(tmp_path):
    def broken():
        yield StoredExample(np.array([5, 1]), np.array([6, 1]))
        raise UserError("line 2 is broken")

    store = TokenStore(tmp_path / "store")
    with pytest.raises(UserError, match="line 2"):
        store.write("rte", "train", "a" * 32, broken(), {})
    assert list((tmp_path / "store").iterdir()) == []
    store.write("rte", "train", "a" * 32, [StoredExample(np.array([5, 1]), np.array([6, 1]))], {})
    with pytest.raises(UserError, match="line 2"):
        store.write("rte", "train", "b" * 32, broken(), {})
    assert len(store.open("rte", "train")) == 1
