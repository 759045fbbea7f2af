"""Tasks of seqio's registry prepared here: what the store holds is what seqio itself yields."""

import functools
import json
import pickle
from pathlib import Path

import gin
import numpy as np
import pytest
import seqio
import tensorflow as tf
import third_party_tasks as theirs

from flan_jax.data.prepare import workers
from flan_jax.data.prepare.config import PrepareConfig, RecordCounts, TokenizeConfig, combine_parts
from flan_jax.data.prepare.gin_bindings import binds_functions_of_others
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.prepare.preprocessors import make_preprocessor
from flan_jax.data.prepare.split_job import write_split
from flan_jax.data.seqio_bridge.fingerprints import callable_text, source_parts
from flan_jax.data.seqio_bridge.mixtures import seqio_mixture
from flan_jax.data.seqio_bridge.register import SeqioVocabulary, register_mixture
from flan_jax.data.seqio_bridge.tasks import SeqioTask, stored_example
from flan_jax.data.seqio_bridge.vocabulary import TaskVocabulary, from_seqio
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.policies import UniMax
from flan_jax.option_groups import group_of
from flan_jax.store.store import TokenStore
from flan_jax.tasks import user_modules
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.tasks import COPY, PARITY, VOWEL

LENGTHS = {"inputs": 26, "targets": 6}
TASKS = (
    "their_parity", "their_few_shot", "their_reading", "their_language", "their_lines", "their_records", "their_bytes",
)  # fmt: skip


def prepare_config(name, **changes):
    options = group_of(TokenizeConfig, {"lengths": LENGTHS, **changes})
    return PrepareConfig(SeqioTask(name).own_vocabulary(), options, changes.get("seed", 0))


def examples(name, split="train", **changes):
    counts = RecordCounts()
    return list(make_preprocessor(SeqioTask(name), prepare_config(name, **changes)).examples(split, counts)), counts


def seqio_examples(task, split, lengths, seed):
    task = seqio.get_mixture_or_task(task) if isinstance(task, str) else task
    return list(task.get_dataset(lengths, split, shuffle=False, seed=seed).as_numpy_iterator())


def equal(ours, seqios):
    if isinstance(ours, list) or np.asarray(seqios).dtype.hasobject:
        return len(ours) == len(seqios) and all(map(equal, ours, seqios))
    return (
        type(ours) is type(seqios)
        and np.asarray(ours).dtype == np.asarray(seqios).dtype
        and np.array_equal(ours, seqios)
    )


@pytest.mark.parametrize("name", TASKS)
def test_the_store_holds_what_seqio_yields(name, tmp_path):
    task, store = SeqioTask(name), TokenStore(tmp_path)
    for split, lengths in ((task.splits[0], LENGTHS), (task.splits[-1], {"inputs": 300, "targets": 100})):
        report = prepare(
            [(task, [split])], PrepareConfig(task.own_vocabulary(), TokenizeConfig(lengths), seed=3), store=store
        )
        stored = store.open(name, split, report.splits[0].fingerprint)
        expected = seqio_examples(name, split, lengths, seed=3)
        assert len(stored) == len(expected) > 0
        for index, example in enumerate(expected):
            found = stored_example(stored, index)
            assert found.keys() == example.keys()
            for feature, value in example.items():
                assert equal(found[feature], value), (index, feature, found[feature], value)
            assert stored.references(index) == (example["targets_pretokenized"].decode(),)
            assert (stored.example_ids[index], stored.template_ids[index]) == (index, 0)


def test_stochastic_preprocessors_are_seeded(tmp_path):
    """Also behind a function that takes no seed, which seqio itself refuses to seed."""
    task = SeqioTask("their_noise")

    def files(folder, seed):
        prepare(
            [(task, ["train"])], PrepareConfig(task.own_vocabulary(), seed=seed), store=TokenStore(tmp_path / folder)
        )
        return [path.read_bytes() for path in sorted((tmp_path / folder).rglob("*.arrow"))]

    assert files("first", 0) == files("second", 0) != files("other", 1)
    seeded = seqio.TaskRegistry.get("their_noise").replace(source=theirs.SOURCE)
    expected = seqio_examples(seeded, "train", LENGTHS, 5)
    found, _ = examples("their_noise", seed=5)
    assert [e.inputs.tolist() for e in found] == [e["inputs"].tolist() for e in expected]


def test_what_is_too_long_is_counted_dropped_or_refused():
    whole, _ = examples("their_reading", lengths={"inputs": 999, "targets": 999})
    long = {side: [len(getattr(e, side)) > LENGTHS[side] for e in whole] for side in LENGTHS}
    expected = {side: sum(flags) for side, flags in long.items()}
    either = sum(map(any, zip(*long.values(), strict=True)))
    assert 0 < either < len(whole)
    cut, counts = examples("their_reading")
    assert (counts.truncated, counts.records, len(cut)) == (expected, len(whole), len(whole))
    # Cut before the end-of-sequence id is appended, as seqio does.
    assert all(e.inputs[-1] == 1 for e in cut)
    kept, counts = examples("their_reading", too_long="drop")
    assert (counts.dropped, len(kept), sum(counts.truncated.values())) == (either, len(whole) - either, 0)
    assert [e.example_id for e in kept] == [
        i for i in range(len(whole)) if not long["inputs"][i] and not long["targets"][i]
    ]
    with pytest.raises(
        UserError, match=r"'their_reading', split 'train', example .*: its inputs are longer than the 26 tokens"
    ):
        examples("their_reading", too_long="fail")
    # append_eos, then seqio's trimming: the end-of-sequence id is cut off, and counted all the same.
    cut, counts = examples("their_lines")
    assert counts.truncated["targets"] == len(cut)
    assert all(e.targets[-1] != 1 for e in cut)


def test_a_record_that_a_preprocessor_rejects():
    with pytest.raises(UserError, match=r"'their_picky', split 'train', example 7: .*seven is not allowed"):
        examples("their_picky")
    kept, counts = examples("their_picky", on_error="skip")
    assert [e.example_id for e in kept] == [i for i in range(40) if i != 7]
    assert (counts.records, counts.skipped) == (40, 1)
    assert "example 7" in counts.messages[0]


def broken_off(split, shuffle_files, seed=None):
    def numbers():
        yield from ({"inputs": [5, 1], "targets": [6, 1]} for _ in range(3))
        raise OSError("the disk went away")

    spec = {name: tf.TensorSpec([None], tf.int32) for name in theirs.FEATURES}
    return tf.data.Dataset.from_generator(numbers, output_signature=spec)


def add(name, source, preprocessors=(), features=None, **more):
    if name not in seqio.TaskRegistry.names():
        features = theirs.FEATURES if features is None else features
        seqio.TaskRegistry.add(name, source=source, preprocessors=list(preprocessors), output_features=features, **more)
    return SeqioTask(name)


def test_a_source_that_breaks_off_never_passes_for_a_short_one():
    add("their_broken", seqio.FunctionDataSource(broken_off, ["train"]))
    for on_error in ("fail", "skip"):
        with pytest.raises(UserError, match=r"'their_broken', split 'train'.*the disk went away"):
            examples("their_broken", on_error=on_error)


def test_a_pipeline_that_cannot_be_used_says_why():
    add("their_text", theirs.SOURCE, [theirs.reading])
    with pytest.raises(UserError, match=r"Task 'their_text', split 'train': seqio cannot build its data set: .*inputs"):
        examples("their_text")
    add("their_image", theirs.SOURCE, features={"image": seqio.Feature(theirs.VOCABULARY)})
    with pytest.raises(UserError, match=r"'their_image' has no output feature 'targets'"):
        SeqioTask("their_image").own_vocabulary()
    with pytest.raises(UserError, match=r"has no split 'test'. It has: train, validation"):
        examples("their_parity", "test")
    with pytest.raises(
        UserError, match=r"Unknown seqio task 'their_party'. Did you mean 'their_parity'.*--module_import"
    ):
        SeqioTask("their_party").own_vocabulary()


def test_fingerprints_see_what_the_tokens_depend_on(tmp_path):
    def parts(task, split="train", **changes):
        return make_preprocessor(task, prepare_config(task.name, **changes)).fingerprint_parts(split)

    base = parts(SeqioTask("their_parity"))
    assert base == parts(SeqioTask("their_parity"))
    changed = {
        "lengths": parts(SeqioTask("their_parity"), lengths={"inputs": 27, "targets": 6}),
        "seed": parts(SeqioTask("their_parity"), seed=1),
        "too_long": parts(SeqioTask("their_parity"), too_long="drop"),
        "source": parts(add("their_parity_2", seqio.FunctionDataSource(theirs.without_seed, ["train"]),
                            [functools.partial(theirs.question, labels=theirs.LABELS), *theirs.TOKENS])),
        "preprocessors": parts(add("their_parity_3", theirs.SOURCE,
                                   [functools.partial(theirs.question, labels=("0", "1")), *theirs.TOKENS])),
        "output_features": parts(add("their_parity_4", theirs.SOURCE,
                                     [functools.partial(theirs.question, labels=theirs.LABELS), *theirs.TOKENS],
                                     {n: seqio.Feature(theirs.VOCABULARY, add_eos=n == "targets") for n in LENGTHS})),
    }  # fmt: skip
    for part, other in changed.items():
        assert {name for name in base if base[name] != other[name]} == {part}
        assert combine_parts(base) != combine_parts(other)
    lines = seqio.TaskRegistry.get("their_lines").source
    before = source_parts(lines, "train"), source_parts(lines, "test")
    file = Path(theirs.DATA) / "lines-1.txt"
    text = file.read_text()
    file.write_text(text.replace("answer 3", "answer 9"))
    after = source_parts(lines, "train"), source_parts(lines, "test")
    file.write_text(text)
    assert (before[0] != after[0], before[1] == after[1]) == (True, True)
    assert source_parts(lines, "train") == before[0]
    # TensorFlow's types count too, and the exemplars of a few-shot task.
    kinds = [{"inputs": tf.io.FixedLenFeature([], kind)} for kind in (tf.string, tf.int64)]
    one, other = (seqio.TFExampleDataSource({"train": "none"}, kind) for kind in kinds)
    assert source_parts(one, "train") != source_parts(other, "train")
    few = [
        seqio.experimental.FewshotDataSource(theirs.SOURCE, num_shots=2, train_preprocessors=[prep])
        for prep in (theirs.pair, theirs.sentence)
    ]
    assert source_parts(few[0], "validation") != source_parts(few[1], "validation")
    arrays = [functools.partial(theirs.question, labels=np.full(2000, value)) for value in (0, 1)]
    assert callable_text(arrays[0]) != callable_text(arrays[1])


@pytest.fixture
def bound():
    """Reads gin bindings; what was bound before is put back afterwards."""
    with gin.unlock_config():
        before = gin.config_str()
        yield gin.parse_config
        gin.clear_config()
        gin.parse_config(before)


def test_of_gins_state_only_what_is_bound_to_a_preprocessor_is_in_its_fingerprint(bound):
    configured = {"asked": theirs.asked, "partly": functools.partial(theirs.asked, mark="!"), "other": theirs.shouted}

    def digests():
        return {name: callable_text(function) for name, function in configured.items()}

    def changed(*lines):
        before = digests()
        bound("\n".join(lines))
        after = digests()
        return {name for name in before if before[name] != after[name]}

    assert len(set(digests().values())) == 3
    assert changed("unrelated.value = 3", "NOBODYS = 7") == set()
    theirs.unrelated()  # what gin notes of a call counts no more than what it was told
    assert changed("unrelated.value = 4") == set()
    assert changed("shouted.times = 2") == {"other"}
    assert changed("asked.mark = '?!'") == {"asked"}  # the partial gives its own
    assert changed("MARK = '??'", "asked.mark = %MARK") == {"asked"}
    assert changed("MARK = '???'") == {"asked"}  # through the macro
    assert changed("asked.style = @styled") == {"asked", "partly"}
    assert changed("styled.word = 'plain'") == {"asked", "partly"}  # through the reference
    assert changed("elsewhere/asked.mark = '.'", "elsewhere/styled.word = 'x'") == set()  # nobody calls it there
    assert binds_functions_of_others()


def test_a_gin_configured_pipeline_keeps_its_place_in_the_store_across_configurations(bound):
    task = add("their_asked", theirs.SOURCE, [theirs.asked, *theirs.TOKENS])

    def preprocessors():
        return make_preprocessor(task, prepare_config(task.name)).fingerprint_parts("train")["preprocessors"]

    first, tokens = preprocessors(), examples("their_asked")[0][0].inputs.tolist()
    bound("unrelated.value = 5\nshouted.times = 9")
    assert (preprocessors(), examples("their_asked")[0][0].inputs.tolist()) == (first, tokens)
    bound("asked.mark = '!!'")
    assert preprocessors() != first
    assert examples("their_asked")[0][0].inputs.tolist() != tokens


def test_a_task_whose_data_are_not_here_says_so():
    name = "their_absent"
    if name not in seqio.TaskRegistry.names():
        source = seqio.TfdsDataSource(tfds_name="glue/rte:2.0.0")
        seqio.TaskRegistry.add(name, source=source, preprocessors=list(theirs.TOKENS), output_features=theirs.FEATURES)
    for asked in (lambda: SeqioTask(name).splits, lambda: seqio_mixture(name), lambda: examples(name)):
        with pytest.raises(UserError, match=r"data of task 'their_absent' are not on this machine.*'glue/rte:2.0.0'"):
            asked()


def test_rates_are_those_that_seqio_resolves():
    mixture = seqio_mixture("their_mixture")
    theirs_own = seqio.get_mixture_or_task("their_mixture")
    assert {e.task.name: e.rate for e in mixture.entries} == {t.name: theirs_own.get_rate(t) for t in theirs_own.tasks}
    weights = mixture.weights({task.name: 7 for task in mixture.train_tasks})
    # 10 for the pair, 80 to 20 inside it; 1.5 for the task itself again; 4 for the third.
    assert weights == pytest.approx({"their_parity": 9.5 / 15.5, "their_few_shot": 2 / 15.5, "their_reading": 4 / 15.5})
    (suite,) = mixture.suites
    assert (suite.split, [task.name for task in suite.tasks]) == ("validation", sorted(weights))
    single = seqio_mixture("their_lines")
    assert [(suite.name, suite.split) for suite in single.suites] == [("test", "test")]
    assert seqio_mixture("their_noise").suites == ()
    seqio.MixtureRegistry.remove("their_unknown_sizes")
    seqio.MixtureRegistry.add("their_unknown_sizes", [("their_lines", theirs.by_size)])
    with pytest.raises(UserError, match=r"the rate of task 'their_lines' cannot be computed"):
        seqio_mixture("their_unknown_sizes")


def test_counts_records_where_the_source_does_not_say():
    assert SeqioTask("their_parity").count("train") == 40
    assert SeqioTask("their_lines").count("train") == 14
    with pytest.raises(UserError, match=r"no split 'validation'"):
        SeqioTask("their_lines").count("validation")


def test_vocabularies_are_compared_by_content():
    extra, plain = TaskVocabulary(seqio.ByteVocabulary(3)), TaskVocabulary(seqio.ByteVocabulary())
    assert extra.fingerprint() == TaskVocabulary(seqio.ByteVocabulary(3)).fingerprint() != plain.fingerprint()
    assert plain.fingerprint() == ByteVocabulary().fingerprint()
    assert (extra.size, extra.pad_id, extra.eos_id, extra.unk_id) == (262, 0, 1, 2)
    assert plain.encode("é!") == ByteVocabulary().encode("é!")
    assert plain.decode([*plain.encode("é!"), 1, 70]) == "é!"
    assert pickle.loads(pickle.dumps(extra)).fingerprint() == extra.fingerprint()
    assert from_seqio(SeqioVocabulary("bytes")) is SeqioVocabulary("bytes").vocabulary
    with pytest.raises(
        UserError, match=r"'their_bytes' is written for the vocabulary 'ByteVocabulary' .259 ids., not for"
    ):
        make_preprocessor(SeqioTask("their_bytes"), prepare_config("their_parity"))


def test_sentencepiece_by_its_file(tmp_path):
    import sentencepiece

    text = tmp_path / "text"
    text.write_text("\n".join(f"red green blue {n} number" for n in range(200)))
    for name, size in (("a", 60), ("b", 61)):
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(tmp_path / name), vocab_size=size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
            minloglevel=2, hard_vocab_limit=False,
        )  # fmt: skip
    (tmp_path / "copy.model").write_bytes((tmp_path / "a.model").read_bytes())

    def of(name, **more):
        return TaskVocabulary(seqio.SentencePieceVocabulary(str(tmp_path / f"{name}.model"), **more)).fingerprint()

    from flan_jax.data.tokenizers.registry import load_vocabulary

    assert of("a") == of("copy") == load_vocabulary(tmp_path / "a.model").fingerprint()
    assert len({of("a"), of("b"), of("a", extra_ids=10), of("a", extra_ids=10, reverse_extra_ids=False)}) == 4
    assert of("a", extra_ids=10) == of("copy", extra_ids=10)


def test_a_pickled_task_names_the_modules_to_import(monkeypatch, tmp_path):
    monkeypatch.setattr(user_modules, "_imported", {})
    user_modules.import_modules(["third_party_tasks"])
    content = pickle.dumps(make_preprocessor(SeqioTask("their_parity", "kinds"), prepare_config("their_parity")))
    assert b"third_party_tasks" in content
    monkeypatch.setattr(user_modules, "_imported", {})
    assert pickle.loads(content).task == SeqioTask("their_parity", "kinds")
    assert user_modules.imported_modules() == ("third_party_tasks",)


def test_workers_prepare_the_same(tmp_path, monkeypatch):
    """Also a task that they cannot find: a script imports one module by name and registers more itself."""
    monkeypatch.setattr(workers, "PATIENCE_S", 0.0)
    in_workers = workers._write_in_workers  # one of them: each imports TensorFlow
    monkeypatch.setattr(workers, "_write_in_workers", lambda tasks, setup, processes: in_workers(tasks, setup, 1))
    monkeypatch.setattr(user_modules, "_imported", {})
    user_modules.import_modules(["third_party_tasks"])
    add("their_own_here", theirs.SOURCE, [functools.partial(theirs.question, labels=theirs.LABELS), *theirs.TOKENS],
        metric_fns=[theirs.accuracy])  # fmt: skip
    names = ("their_parity", "their_reading", "their_own_here")
    wanted = [(SeqioTask(name), ["train", "validation"]) for name in names]
    config = PrepareConfig(wanted[0][0].own_vocabulary())
    done_here = []
    monkeypatch.setattr(
        workers, "write_split", lambda job, *rest: done_here.append(job.task.name) or write_split(job, *rest)
    )
    for folder, processes in (("one", 1), ("two", 2)):
        done_here.clear()
        modules = user_modules.imported_modules()
        report = prepare(wanted, config, store=TokenStore(tmp_path / folder), processes=processes, modules=modules)
        assert {(split.task, split.split): split.examples for split in report.splits} == {
            (name, split): count for name in names for split, count in (("train", 40), ("validation", 12))
        }
        assert set(done_here) == (set(names) if processes == 1 else {"their_own_here"})
    one, two = (
        {p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("*.arrow")} for f in ("one", "two")
    )
    assert one == two
    assert len(one) == 6


def test_nested_mixtures_and_unimax_reach_seqio_as_shares():
    inner = Mixture("toy_inner", (Entry(Prompted(PARITY)), Entry(Prompted(COPY), 3.0)))
    outer = Mixture(
        "toy_outer", (Entry(inner), Entry(Prompted(VOWEL))), policy=UniMax(budget=90, max_epochs=1), vocabulary="bytes",
        suites=(Suite("held_in", (Prompted(COPY),), split="validation"),),
    )  # fmt: skip
    made = register_mixture(outer)
    sizes = {task.name: 64 for task in outer.train_tasks}
    assert {task.name: made.get_rate(task) for task in made.tasks} == pytest.approx(outer.weights(sizes))
    tokens = Mixture("toy_tokens", (Entry(Prompted(PARITY)), Entry(Prompted(COPY))), unit="tokens", vocabulary="bytes")
    means = {"toy_parity_zs_opt": 10.0, "toy_copy_zs_opt": 30.0}
    made = register_mixture(tokens, mean_tokens=means)
    assert {task.name: made.get_rate(task) for task in made.tasks} == pytest.approx(tokens.weights(sizes, means))
    made = register_mixture(tokens)
    with pytest.raises(UserError, match=r"mean tokens of task"):
        made.total_rate  # noqa: B018


def test_our_tasks_and_theirs_in_one_seqio_mixture():
    both = Mixture("toy_and_theirs", (Entry(Prompted(PARITY), 1.0), Entry(SeqioTask("their_parity"), 3.0)))
    made = register_mixture(both)
    assert {task.name: made.get_rate(task) for task in made.tasks} == {"toy_parity_zs_opt": 0.25, "their_parity": 0.75}
    rows = list(made.get_dataset(LENGTHS, "train", shuffle=False, num_epochs=1).take(20).as_numpy_iterator())
    texts = [theirs.VOCABULARY.decode(row["inputs"].tolist()) for row in rows]
    assert {text.startswith("is ") for text in texts} == {True, False}
    # The way back: a task of ours in seqio's registry is ours again.
    back = seqio_mixture("toy_and_theirs")
    assert {entry.task for entry in back.entries} == {Prompted(PARITY), SeqioTask("their_parity")}
    with pytest.raises(UserError, match=r"seqio knows no task 'their_party'"):
        register_mixture(Mixture("toy_typo", (Entry(SeqioTask("their_party")),), vocabulary="bytes"))


def test_seqios_offline_cache_is_read_where_there_is_one(tmp_path, monkeypatch):
    """Written here as seqio_cache_tasks writes it; its tokens differ from those made anew, so that it shows."""
    pipeline = [theirs.sentence, seqio.preprocessors.tokenize, seqio.CacheDatasetPlaceholder(required=True)]
    add("their_cached", theirs.SOURCE, [*pipeline, seqio.preprocessors.append_eos_after_trim],
        {"targets": theirs.FEATURES["targets"]})  # fmt: skip
    task = seqio.TaskRegistry.get("their_cached")
    monkeypatch.setattr(task, "_cache_dir", None)
    with pytest.raises(UserError, match=r"'their_cached', split 'train'.*requires caching"):
        examples("their_cached")
    folder = tmp_path / "their_cached"
    folder.mkdir()
    (folder / "COMPLETED").touch()
    shape = {"targets": {"shape": [None], "dtype": "int32"}}
    (folder / "info.train.json").write_text(json.dumps({"features": shape, "num_shards": 1, "seqio_version": "1.0.0"}))
    (folder / "stats.train.json").write_text(json.dumps({"examples": 3}))
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord-00000-of-00001")) as writer:
        for length in (2, 3, 9):
            ids = tf.train.Feature(int64_list=tf.train.Int64List(value=range(10, 10 + length)))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"targets": ids})).SerializeToString())
    monkeypatch.setattr(seqio.utils, "_GLOBAL_CACHE_DIRECTORIES", [str(tmp_path)])
    before = SeqioTask("their_parity")
    found, counts = examples("their_cached")
    assert [e.targets.tolist() for e in found] == [[10, 11, 1], [10, 11, 12, 1], [10, 11, 12, 13, 14, 1]]
    assert counts.truncated["targets"] == 1
    made = make_preprocessor(SeqioTask("their_cached"), prepare_config("their_cached"))
    assert made.manifest("train")["cached"] is True
    assert (
        made.fingerprint_parts("train")["cache"]
        != make_preprocessor(before, prepare_config("their_parity")).fingerprint_parts("train")["cache"]
    )
    monkeypatch.setattr(task, "_cache_dir", None)
