"""What becomes of records that cannot be read, cannot be rendered, or are too long; and of damaged stores."""

import dataclasses
import json
import os
import pickle

import pytest
from prepare_toys import contents, records, write_lines, yes_or_no

from flan_jax.data.prepare.config import DEFAULT_LENGTHS, MAX_MESSAGES, PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare, task_fingerprint
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.sources import base as sources
from flan_jax.data.sources.generated import generated
from flan_jax.data.sources.json_files import JsonSource, jsonl
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import PlacedError, RecordError, UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.spec import Prompted
from flan_jax.tasks.task import BaseTask
from flan_jax.testing.tasks import COPY, PARITY

BYTES = ByteVocabulary()
LENGTHS = {"inputs": 64, "targets": 8}
GOOD = {"question": "x", "answer": "yes"}
BAD = {
    "not valid JSON": b'{"question": "x"',
    "not UTF-8": b'{"question": "\xe9", "answer": "yes"}',
    "must be a JSON object, not list": b"[1]",
    "JSON that cannot be read": b"[" * 100_000,
    "KeyError: 'question'": {"query": "x", "answer": "yes"},
    "slot {question} is not text": {"question": 3, "answer": "yes"},
    "'maybe' is not one of its options": {"question": "x", "answer": "maybe"},
    "neither a string nor": {"question": "x", "answer": []},
}


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_record_is_named_by_file_and_line(tmp_path, store, reason):
    path = write_lines(tmp_path / "a.jsonl", [GOOD, b"", BAD[reason], GOOD])
    with pytest.raises(UserError) as error:
        prepare([(yes_or_no("a", path), ["train"])], PrepareConfig(BYTES), store=store)
    assert f"{path}, line 3" in str(error.value)
    assert reason in str(error.value)
    assert not any(file.is_file() for file in store.path.rglob("*"))


def test_an_empty_side_is_a_bad_record(tmp_path, store):
    from flan_jax.tasks.spec import Template

    path = write_lines(tmp_path / "a.jsonl", [GOOD, {"question": " ", "answer": "yes"}])
    task = yes_or_no("a", path, templates=(Template("{question}"),), options=(), predict="generate")
    with pytest.raises(UserError, match=r"line 2: .*template 0 renders an empty input"):
        prepare([(task, ["train"])], PrepareConfig(BYTES), store=store)


def test_bad_records_are_skipped_and_the_others_stay_as_they_are(tmp_path, store):
    good = records(40)
    whole = yes_or_no("a", write_lines(tmp_path / "whole.jsonl", good))
    bad_at = dict(zip(range(3, 40, 4), BAD.values(), strict=False))
    holes = yes_or_no("a", write_lines(tmp_path / "holes.jsonl", [bad_at.get(i, line) for i, line in enumerate(good)]))
    report = prepare(
        [(holes, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
    )
    prepare([(whole, ["train"])], PrepareConfig(BYTES), store=store)
    full = store.open(
        whole.name,
        "train",
        task_fingerprint(whole, "train", PrepareConfig(BYTES, TokenizeConfig({"inputs": 512, "targets": 128}))),
    )
    kept = store.open(holes.name, "train", report.splits[0].fingerprint)
    assert report.unreadable == len(BAD) == len(good) - report.examples
    assert kept.example_ids.tolist() == [i for i in range(40) if i not in bad_at]
    for position, index in enumerate(kept.example_ids):
        assert kept.inputs(position).tolist() == full.inputs(int(index)).tolist()
        assert kept.template_ids[position] == full.template_ids[index]
    counts = kept.manifest["tally"]
    assert (counts["records"], counts["skipped"], len(counts["messages"])) == (40, len(BAD), MAX_MESSAGES)
    assert all(f"holes.jsonl, line {line}" in m for line, m in zip((4, 8, 12, 16, 20), counts["messages"], strict=True))
    again = prepare(
        [(holes, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
    )
    assert (again.skipped, again.unreadable) == (1, len(BAD))
    assert again.splits[0].messages == report.splits[0].messages
    json.dumps(again.as_dict())


def test_a_list_of_records_is_named_by_index(tmp_path, store):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([GOOD, 3, {"answer": "yes"}, GOOD]))
    task = yes_or_no("a", path)
    with pytest.raises(UserError, match=r"a\.json, record 1: a record must be a JSON object, not int"):
        prepare([(task, ["train"])], PrepareConfig(BYTES), store=store)
    report = prepare(
        [(task, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
    )
    assert [f"a.json, record {i}" in message for i, message in enumerate(report.splits[0].messages, 1)] == [True, True]
    assert store.open(task.name, "train").example_ids.tolist() == [0, 3]
    path.write_text("[{]")
    with pytest.raises(UserError, match=r"a\.json, line 1: not valid JSON"):  # nothing of it can be told apart
        prepare(
            [(task, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
        )


def test_generated_records_are_named_by_index(store):
    source = generated("odd", lambda split: [GOOD, None, GOOD], version=1)
    task = yes_or_no("a", "unused", source=source)
    with pytest.raises(UserError, match=r"generated 'odd' \(version 1\), split 'train', record 1"):
        prepare([(task, ["train"])], PrepareConfig(BYTES), store=store)
    assert (
        prepare(
            [(task, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
        ).examples
        == 2
    )


@dataclasses.dataclass(frozen=True)
class _PlainSource:
    """A third party's, which knows nothing of ``Source``."""

    splits = ("train",)

    def records(self, split):
        yield from (GOOD, {}, GOOD)

    def fingerprint(self, split):
        return "plain"

    def describe(self):
        return "plain"


def test_a_source_that_cannot_tell_still_skips_what_does_not_render(store):
    task = yes_or_no("a", "unused", source=_PlainSource())
    report = prepare(
        [(task, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
    )
    assert (report.examples, report.unreadable) == (2, 1)
    assert report.splits[0].messages[0].startswith("Task 'a', record 1:")


def test_too_long_is_cut_dropped_or_refused(tmp_path, store):
    path = write_lines(tmp_path / "a.jsonl", [*records(6), {"question": "w" * 80, "answer": "no"}, *records(2)])
    task = yes_or_no("a", path)
    wanted = [(task, ["train"])]
    cut = prepare(wanted, PrepareConfig(BYTES, TokenizeConfig(LENGTHS)), store=store)
    dropped = prepare(wanted, PrepareConfig(BYTES, TokenizeConfig(LENGTHS, too_long="drop")), store=store)
    assert (cut.examples, cut.truncated_inputs, cut.truncated_targets, cut.dropped) == (9, 1, 0, 0)
    assert (dropped.examples, dropped.truncated_inputs, dropped.dropped) == (8, 0, 1)
    kept = store.open(task.name, "train", dropped.splits[0].fingerprint)
    assert kept.example_ids.tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
    with pytest.raises(
        UserError, match=r"record 6: its inputs have \d{2,3} tokens .* length of inputs is 64.*too_long=drop"
    ):
        prepare(wanted, PrepareConfig(BYTES, TokenizeConfig(LENGTHS, too_long="fail")), store=store)
    assert len(store.fingerprints(task.name, "train")) == 2
    long = {"inputs": 256, "targets": 8}
    assert prepare(wanted, PrepareConfig(BYTES, TokenizeConfig(long, too_long="fail")), store=store).examples == 9


def test_nothing_left_says_where_it_went(tmp_path, store):
    task = yes_or_no("a", write_lines(tmp_path / "a.jsonl", [b"{", *records(3)]))
    options = TokenizeConfig({"inputs": 4, "targets": 8}, on_error="skip", too_long="drop")
    with pytest.raises(UserError) as error:
        prepare([(task, ["train"])], PrepareConfig(BYTES, options), store=store)
    message = str(error.value)
    assert "has 4 records" in message
    assert "1 cannot be read or rendered" in message
    assert "a.jsonl, line 1" in message
    assert "3 are longer than the lengths inputs 4, targets 8" in message
    assert store.tasks() == ()


@pytest.mark.parametrize(("name", "value"), [("on_error", "skp"), ("too_long", "dropp")])
def test_unknown_choices_are_refused(name, value):
    with pytest.raises(UserError, match=f"{name} is '{value}'; it must be one of .*Did you mean"):
        TokenizeConfig(LENGTHS, **{name: value})


def test_the_choices_that_matter_are_in_the_fingerprint():
    def print_of(**choices):
        return task_fingerprint(Prompted(PARITY), "train", PrepareConfig(BYTES, TokenizeConfig(LENGTHS, **choices)))

    prints = {print_of(), print_of(on_error="skip"), print_of(too_long="drop"), print_of(too_long="fail")}
    assert len(prints) == 4
    assert print_of(on_error="fail", too_long="truncate") == print_of()


class _Wrong(ByteVocabulary):
    """Bytes with one thing wrong."""

    def __init__(self, encoded=None, **wrong):
        super().__init__()
        self.encoded = encoded
        for name, value in wrong.items():
            setattr(self, name, value)

    def encode_arrays(self, texts):
        ids = super().encode_arrays(texts)
        if self.encoded is not None:
            ids[-1][0] = self.encoded
        return ids


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"eos_id": None}, "has the end-of-sequence id None"),
        ({"pad_id": None}, "has the padding id None"),
        ({"eos_id": -1}, "has the end-of-sequence id -1"),
        ({"pad_id": 259}, "has the padding id 259, but it must be a whole number from 0 to 258"),
        ({"eos_id": 0}, "the same id, 0, for the end of a sequence and for padding"),
        ({"eos_id": ord("a") + 3}, "encodes the text .* with the id 100"),
        ({"size": 100}, "encodes the text .* with the id 100, but an id of text is from 0 to 99"),
        ({"encoded": 0}, r"encodes the inputs of task 'toy_copy_zs_opt', split 'test', record 15, with the id 0"),
        ({"encoded": 1}, "record 15, with the id 1"),
        ({"encoded": -1}, "record 15, with the id -1"),
        ({"encoded": 259}, "record 15, with the id 259"),
    ],
)
def test_impossible_ids_are_refused(store, wrong, message):
    with pytest.raises(UserError, match=message):
        prepare([(Prompted(COPY), ["test"])], PrepareConfig(_Wrong(**wrong)), store=store)
    assert not any(file.is_file() for file in store.path.rglob("*"))


@pytest.mark.parametrize("hidden", [True, False])
def test_a_damaged_split_is_prepared_again_and_nothing_else(tmp_path, store, hidden):
    tasks = [(yes_or_no(name, write_lines(tmp_path / f"{name}.jsonl", records(30, name))), ["train"]) for name in "abc"]
    prepare(tasks, PrepareConfig(BYTES), store=store)
    before = contents(store)
    arrow = next(store.path / name for name in before if name.startswith("b_") and name.endswith(".arrow"))
    stat = arrow.stat()
    content = bytearray(arrow.read_bytes())
    content[len(content) // 2] ^= 1
    arrow.write_bytes(content)
    if hidden:  # as a failing disk does it
        os.utime(arrow, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    blind = prepare(tasks, PrepareConfig(BYTES), store=store)
    assert (blind.written, blind.skipped, blind.damaged) == ((0, 3, 0) if hidden else (1, 2, 1))
    report = prepare(tasks, PrepareConfig(BYTES), store=store, verify=True)
    assert (report.written, report.skipped, report.damaged) == ((1, 2, 1) if hidden else (0, 3, 0))
    assert [split.task for split in (*blind.splits, *report.splits) if split.damaged] == ["b_zs_opt"]
    assert contents(store) == before


def test_a_task_of_another_kind_brings_its_preprocessor(store):
    task = Foreign("foreign")
    prepare([(task, ["train"])], PrepareConfig(BYTES), store=store)
    assert store.open("foreign", "train").inputs(0).tolist() == [5, 1]
    assert store.open("foreign", "train").manifest["tally"]["records"] == 1
    with pytest.raises(UserError, match=r"Task 'stray' is a Stray, which has no method preprocessor\(config\)"):
        make_preprocessor(type("Stray", (BaseTask,), {"name": "stray"})(), PrepareConfig(BYTES))


@dataclasses.dataclass(frozen=True)
class Foreign(BaseTask):
    name: str
    cluster: str = "foreign"
    splits: tuple[str, ...] = ("train",)

    def preprocessor(self, config):
        return _ForeignPreprocessor()


class _ForeignPreprocessor:
    def fingerprint_parts(self, split):
        return {"only": split}

    def examples(self, split, counts):
        import numpy as np

        from flan_jax.store.store import StoredExample

        counts.records += 1
        yield StoredExample(np.array([5, 1]), np.array([6, 1]))

    def manifest(self, split):
        return {"vocabulary_size": 10}

    def extras(self, split):
        return {}


def test_counts_keep_the_first_reasons():
    counts = RecordCounts()
    for i in range(10):
        counts.skip(UserError(f"reason {i}"))
    assert (counts.records, counts.skipped) == (10, 10)
    assert counts.messages == [f"reason {i}" for i in range(MAX_MESSAGES)]


def test_a_missing_source_is_found_before_anything_is_written(tmp_path, store):
    sources.set_data_dir(tmp_path)
    there = yes_or_no("a", write_lines(tmp_path / "a.jsonl", records(3)))
    missing = yes_or_no("b", "unused", source=jsonl(train="nowhere.jsonl"))
    with pytest.raises(UserError, match="nowhere"):
        prepare([(there, ["train"]), (missing, ["train"])], PrepareConfig(BYTES), store=store)
    assert store.tasks() == ()


def test_the_place_of_a_bad_record_is_looked_up_only_where_it_is_told(tmp_path, store, monkeypatch):
    path = write_lines(tmp_path / "a.jsonl", [GOOD, *[BAD["'maybe' is not one of its options"]] * 50])
    asked = []
    place = JsonSource.place

    def counted(self, split, index):
        asked.append(index)
        return place(self, split, index)

    monkeypatch.setattr(JsonSource, "place", counted)
    report = prepare(
        [(yes_or_no("a", path), ["train"])],
        PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")),
        store=store,
    )
    assert report.unreadable == 50
    assert asked == [1, 2, 3, 4, 5][:MAX_MESSAGES], "looking it up reads the file, so 50 times would be quadratic"
    assert all(message.startswith(f"{path}, line ") for message in report.splits[0].messages)


def test_an_error_with_a_place_reads_the_same_in_another_process():
    error = PlacedError(lambda: "a.jsonl, line 7", UserError("'answer' is empty."))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "a.jsonl, line 7: 'answer' is empty."
    assert type(again) is RecordError


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_refused_leaves_no_empty_store(tmp_path, processes):
    bad = [(yes_or_no(name, write_lines(tmp_path / f"{name}.jsonl", [b"{"])), ["train"]) for name in "ab"]
    for there in ("", "here", "here/store"):
        (tmp_path / there).mkdir(parents=True, exist_ok=True)
        with pytest.raises(UserError, match="not valid JSON"):
            prepare(bad, PrepareConfig(BYTES), store=TokenStore(tmp_path / "here/store"), processes=processes)
        left = [path.name for path in (tmp_path / "here").rglob("*")] if there else (tmp_path / "here").exists()
        assert left == {"": False, "here": [], "here/store": ["store"]}[there]
