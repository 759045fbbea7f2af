"""Few-shot tasks in the store: what their fingerprint covers, what is left out, and the same text everywhere."""

import dataclasses

import pytest
from prepare_toys import contents, records, write_lines, yes_or_no

from flan_jax.data.prepare import workers
from flan_jax.data.prepare.config import DEFAULT_LENGTHS, PrepareConfig, RecordCounts, TokenizeConfig
from flan_jax.data.prepare.prepare import fingerprint_parts, prepare, task_fingerprint
from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.style import FLAN_2021, FLAN_2022, FewShot, OptionStyle, PromptStyle
from flan_jax.testing.tasks import toy_vocabulary

BYTES = ByteVocabulary()
LENGTHS = {"inputs": 400, "targets": 8}


@pytest.fixture
def store(tmp_path):
    return TokenStore(tmp_path / "store")


def few(path, mode="fs_opt", style=FLAN_2021, shots=3, templates="same", budget=None, name="a", **changes):
    source = jsonl(train=path / "train.jsonl", test=path / "test.jsonl")
    spec = yes_or_no(name, "unused", source=source, **changes).spec
    return Prompted(spec, PromptMode(mode), style=style, few_shot=FewShot(shots, templates, budget))


@pytest.fixture
def files(tmp_path):
    write_lines(tmp_path / "train.jsonl", records(30))
    write_lines(tmp_path / "test.jsonl", records(8, "test"))
    return tmp_path


def print_of(task, split="test", vocabulary=BYTES, lengths=LENGTHS, seed=0):
    return task_fingerprint(task, split, PrepareConfig(vocabulary, TokenizeConfig(lengths), seed=seed))


def test_a_few_shot_fingerprint_changes_with_all_that_its_text_depends_on(files):
    first = print_of(few(files))
    listed = PromptStyle("listed", (OptionStyle(bullet="* "),), FLAN_2021.exemplars)
    set_otherwise = PromptStyle("set", FLAN_2021.options, FLAN_2022.exemplars)
    changed = {
        "shots": print_of(few(files, shots=4)),
        "templates": print_of(few(files, templates="mixed")),
        "budget": print_of(few(files, budget=50)),
        "options": print_of(few(files, style=listed)),
        "setting": print_of(few(files, style=set_otherwise)),
        "mode": print_of(few(files, "fs_noopt")),
        "seed": print_of(few(files), seed=1),
        "name": print_of(few(files, name="b")),
        "vocabulary": print_of(few(files), vocabulary=toy_vocabulary()),
        "length": print_of(few(files), lengths={**LENGTHS, "inputs": 300}),
    }
    write_lines(files / "train.jsonl", records(31))
    changed["training split"] = print_of(few(files))
    assert len({first, *changed.values()}) == len(changed) + 1
    write_lines(files / "train.jsonl", records(30))
    assert print_of(few(files)) == first


def test_and_with_nothing_else(files):
    zero, train, bare = (few(files, mode) for mode in ("zs_opt", "fs_opt", "no_template"))
    prints = print_of(zero), print_of(train, "train"), print_of(bare)
    other = PromptStyle("a name", FLAN_2021.options, FLAN_2022.exemplars)
    assert print_of(few(files, "zs_opt", shots=9, templates="mixed", style=other)) == prints[0]
    assert print_of(few(files, "zs_noopt", style=FLAN_2022)) == print_of(few(files, "zs_noopt"))
    assert print_of(few(files, style=dataclasses.replace(FLAN_2021, name="again"))) == print_of(few(files))
    # Only what is solved before the question comes from the training split; no question comes from the test split.
    write_lines(files / "test.jsonl", records(9, "test"))
    assert print_of(train, "train") == prints[1]
    write_lines(files / "test.jsonl", records(8, "test"))
    write_lines(files / "train.jsonl", records(31))
    assert (print_of(zero), print_of(bare)) == (prints[0], prints[2])
    titles = {
        mode: {print_of(few(files, mode, title=title)) for title in ("", "T")} for mode in ("zs_opt", "dataset_name")
    }
    assert [len(prints) for prints in titles.values()] == [1, 2]
    parts = fingerprint_parts(train, "test", PrepareConfig(BYTES, TokenizeConfig(LENGTHS)))
    assert {"few_shot", "exemplars"} <= set(parts)
    assert not {"few_shot", "exemplars"} & set(
        fingerprint_parts(zero, "test", PrepareConfig(BYTES, TokenizeConfig(LENGTHS)))
    )


def test_several_processes_store_the_same_few_shot_bytes(files, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE_S", -1.0)
    tasks = [
        (few(files, mode, style, templates=templates, name=name), ("train", "test"))
        for name, mode, style, templates in (
            ("a", "fs_opt", FLAN_2021, "same"),
            ("b", "fs_opt", FLAN_2022, "mixed"),
            ("c", "fs_noopt", FLAN_2022, "matching"),
        )
    ]
    for processes in (1, 2):
        prepare(
            tasks,
            PrepareConfig(BYTES, TokenizeConfig(LENGTHS)),
            store=TokenStore(files / f"store{processes}"),
            processes=processes,
        )
    assert contents(TokenStore(files / "store1")) == contents(TokenStore(files / "store2")) != {}


def test_what_is_stored_is_what_is_rendered_within_the_budget(files, store):
    task = few(files, shots=9)
    report = prepare([(task, ["train"])], PrepareConfig(BYTES, TokenizeConfig(LENGTHS)), store=store)
    stored = store.open(task.name, "train", report.splits[0].fingerprint)
    rendered = list(render_split(task, "train", length=lambda text: len(text.encode()) + 1, max_length=400))
    assert len(stored) == len(rendered) == 30
    for index, example in enumerate(rendered):
        assert BYTES.decode(stored.inputs(index)[:-1].tolist()) == example.inputs
        assert len(stored.inputs(index)) <= 375  # 15/16 of 400
        assert 1 <= len(example.exemplars) < 9
    assert report.truncated_inputs == 0


def test_line_ends_that_a_vocabulary_drops_separate_nothing(files, store):
    words = toy_vocabulary()  # decodes to words with spaces between
    task = few(files, style=FLAN_2022)
    kept, dropped = ({e.inputs for e in render_split(task, "train", newlines=newlines)} for newlines in (True, False))
    assert kept != dropped
    report = prepare([(task, ["train"])], PrepareConfig(words, TokenizeConfig(LENGTHS)), store=store)
    stored = store.open(task.name, "train", report.splits[0].fingerprint)
    expected = sorted(words.encode(text) for text in dropped)
    assert sorted(stored.inputs(index)[:-1].tolist() for index in range(len(stored))) == expected


def labelled(record):
    return {"question": record["question"], "answer": record["answer"]} if record["answer"] else None


def test_records_that_are_no_examples_are_counted_apart_from_broken_ones(tmp_path, store):
    lines = [{**line, "answer": "" if i % 4 == 0 else line["answer"]} for i, line in enumerate(records(12))]
    lines[5] = b"{"
    task = yes_or_no("a", write_lines(tmp_path / "a.jsonl", lines), fields=labelled)
    with pytest.raises(UserError, match=r"a\.jsonl, line 6"):
        prepare([(task, ["train"])], PrepareConfig(BYTES), store=store)
    report = prepare(
        [(task, ["train"])], PrepareConfig(BYTES, TokenizeConfig(DEFAULT_LENGTHS, on_error="skip")), store=store
    )
    stored = store.open(task.name, "train", report.splits[0].fingerprint)
    assert stored.example_ids.tolist() == [1, 2, 3, 6, 7, 9, 10, 11]
    counts = RecordCounts.from_manifest(stored.manifest["tally"])
    assert (counts.records, counts.filtered, counts.skipped, counts.dropped) == (12, 3, 1, 0)
    assert len(counts.messages) == report.unreadable == 1


def test_nothing_left_says_that_nothing_is_an_example_or_that_nothing_fits(files, store):
    none = yes_or_no("a", write_lines(files / "a.jsonl", [{"question": "x", "answer": ""}] * 3), fields=labelled)
    with pytest.raises(UserError, match=r"has 3 records .* none is left: 3 are no examples of the task"):
        prepare([(none, ["train"])], PrepareConfig(BYTES), store=store)
    with pytest.raises(UserError, match="none is left: 8 are no examples of the task"):
        prepare([(few(files, budget=20), ["test"])], PrepareConfig(BYTES), store=store)
    assert not any(file.is_file() for file in store.path.rglob("*"))


def test_seqio_yields_the_same_few_shot_prompts(files, store):
    """Which examples fit depends on the vocabulary and the length there, too."""
    from flan_jax.data.seqio_bridge.register import register_task

    for name, style, mode in (("seqio_few", FLAN_2021, "fs_opt"), ("seqio_many", FLAN_2022, "fs_noopt")):
        task = few(files, mode, style, shots=9, templates="mixed", name=name)
        report = prepare([(task, ["test"])], PrepareConfig(BYTES, TokenizeConfig(LENGTHS), seed=2), store=store)
        stored = store.open(task.name, "test", report.splits[0].fingerprint)
        theirs = register_task(task, vocabulary="bytes", seed=2, input_length=LENGTHS["inputs"])
        rows = list(theirs.get_dataset(LENGTHS, "test", shuffle=False).as_numpy_iterator())
        assert len(rows) == len(stored) == 8
        for index, row in enumerate(rows):
            assert row["inputs"].tolist() == stored.inputs(index).tolist()
            assert row["targets"].tolist() == stored.targets(index).tolist()
