"""The bridge to seqio, in two processes: TensorFlow takes ten seconds to import and stays out of this one."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

TESTS = Path(__file__).parents[2]
FIXTURES = TESTS / "data" / "fixtures"


def run(code: str) -> str:
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_importing_mixtures_imports_neither_seqio_nor_tensorflow():
    run("""
        import sys
        import mixtures
        heavy = {"tensorflow", "seqio", "jax", "datasets", "sentencepiece", "gin"} & set(sys.modules)
        assert not heavy, heavy
    """)


def test_seqio_yields_what_the_store_holds(tmp_path):
    run(f"""
        import os
        import sys
        import tensorflow as tf

        # A module of the bridge may be what imports seqio first: in a process that has not done it yet.
        if (other := os.fork()) == 0:
            import mixtures, flan_jax.data.seqio_bridge.vocabulary, seqio
            assert "mini" in seqio.MixtureRegistry.names(), "nobody registered"
            os._exit(0)
        assert os.waitpid(other, 0)[1] == 0

        import mixtures
        import seqio

        # The import was left as it would have been without us.
        assert not any("flan_jax" in type(finder).__module__ for finder in sys.meta_path)
        assert "flan_jax" not in type(seqio.__spec__.loader).__module__ and seqio.__loader__ is seqio.__spec__.loader

        from flan_jax.data.seqio_bridge import register as seqio_bridge
        from flan_jax.data.sources import base as sources
        from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
        from flan_jax.data.prepare.prepare import prepare, task_fingerprint
        from flan_jax.data.tokenizers.bytes import ByteVocabulary
        from flan_jax.data.tokenizers.registry import load_vocabulary
        from flan_jax.errors import UserError
        from flan_jax.store.store import TokenStore
        from flan_jax.mixing.mixture import MIXTURES, get_mixture
        from flan_jax.mixing.policies import Equal
        from flan_jax.tasks.catalog import TASKS
        from flan_jax.tasks.spec import Prompted, PromptMode
        from flan_jax.testing.tasks import PARITY, toy_mixture, toy_vocabulary
        from small_mini import small_mini
        import dataclasses

        # Everything catalogued is there, what needs a data folder is not.
        for name in TASKS:
            for mode in TASKS.get(name).modes:
                assert Prompted(TASKS.get(name), mode).name in seqio.TaskRegistry.names()
        assert "mini" in seqio.MixtureRegistry.names() and "mini_held_out" in seqio.MixtureRegistry.names()
        assert "superni" not in seqio.MixtureRegistry.names()

        lengths = {{"inputs": 20, "targets": 4}}

        def compare(mixture, vocabulary, seed, task_name=lambda name: name, tasks=None):
            store = TokenStore({str(tmp_path)!r} + f"/{{mixture.name}}")
            for task in tasks or mixture.all_tasks:
                split = "test" if "test" in task.spec.source.splits else "validation"
                config = PrepareConfig(vocabulary, TokenizeConfig(lengths), seed)
                prepare([(task, [split])], config, store=store)
                stored = store.open(task.name, split, task_fingerprint(task, split, config))
                dataset = seqio.get_mixture_or_task(task_name(task.name)).get_dataset(lengths, split, shuffle=False)
                count = 0
                for index, example in enumerate(dataset.as_numpy_iterator()):
                    count += 1
                    assert example["inputs"].tolist() == stored.inputs(index).tolist(), (task.name, index)
                    assert example["targets"].tolist() == stored.targets(index).tolist(), (task.name, index)
                    assert tuple(o.decode() for o in example["options"]) == stored.options(index)
                    assert tuple(o.decode() for o in example["references"]) == stored.references(index)
                    assert (example["example_id"], example["template_id"]) == (stored.example_ids[index], stored.template_ids[index])
                assert count == len(stored) > 0

        # The embedded default, as registered by the hook; a few tasks of different kinds.
        few_records = small_mini()
        few_records.__enter__()
        mini = get_mixture("mini")
        kinds = {{(task.spec.predict, bool(task.spec.options), task.mode): task for task in mini.all_tasks}}
        compare(mini, load_vocabulary(mini.vocabulary or "bytes"), 0, tasks=list(kinds.values()))
        pair = next(iter(seqio.get_mixture_or_task("mini").get_dataset(lengths, "train", shuffle=False).as_numpy_iterator()))
        assert set(pair) == {{"inputs", "targets"}} and pair["inputs"][-1] == 1

        # Toy tasks with a vocabulary and a seed of their own, then again with others: the later call wins.
        toy = toy_mixture()
        seqio_bridge.register_mixture(toy)
        for vocabulary, seed in ((toy_vocabulary(), 3), (ByteVocabulary(), 0)):
            seqio_bridge.register_mixture(toy, vocabulary=vocabulary, seed=seed)
            compare(toy, vocabulary, seed)
        assert seqio_bridge.register_task(PARITY_TASK := Prompted(PARITY)) is seqio_bridge.register_task(PARITY_TASK)

        # Kept apart where a task stands under another vocabulary already.
        other = dataclasses.replace(toy, name="toy_words", vocabulary="bytes")
        seqio_bridge.register_mixture(other, vocabulary=toy_vocabulary(), keep=True)
        names = [task.name for task in seqio.get_mixture_or_task("toy_words").tasks]
        assert all(":" in name for name in names) and seqio.get_mixture_or_task("toy").tasks[0].name == "toy_copy_zs_opt"

        # Rates are functions, and the shares that the mixture itself gives.
        def rates(mixture):
            return {{task.name: mixture.get_rate(task) for task in mixture.tasks}}
        assert rates(seqio.get_mixture_or_task("toy")) == {{"toy_copy_zs_opt": 0.5, "toy_parity_zs_opt": 0.5}}
        assert rates(seqio.get_mixture_or_task("toy_held_in")) == {{"toy_copy_zs_opt": 16.0, "toy_parity_zs_opt": 16.0}}
        entries = (dataclasses.replace(toy.entries[0], rate=5.0), toy.entries[1])
        weighted = seqio_bridge.register_mixture(dataclasses.replace(toy, name="weighted", entries=entries, policy=Equal()))
        assert rates(weighted) == {{"toy_copy_zs_opt": 1 / 6, "toy_parity_zs_opt": 5 / 6}}

        # seqio's own converter: decoder inputs shifted, rows padded with 0.
        row = next(iter(seqio.get_dataset("toy_parity_zs_opt", lengths, dataset_split="test", shuffle=False,
            feature_converter=seqio.EncDecFeatureConverter(pack=False)).as_numpy_iterator()))
        targets = row["decoder_target_tokens"]
        assert row["decoder_input_tokens"].tolist() == [0, *targets[:-1]]
        packed = next(iter(seqio.get_dataset("toy", {{"inputs": 128, "targets": 32}}, dataset_split="train", shuffle=True, seed=0,
            feature_converter=seqio.EncDecFeatureConverter(pack=True)).as_numpy_iterator()))
        assert packed["encoder_segment_ids"].max() > 1

        # The adapter in TensorFlow, in both directions and in batches.
        adapter = seqio_bridge.SeqioVocabulary("bytes")
        assert adapter == seqio_bridge.SeqioVocabulary(ByteVocabulary()) and adapter != seqio_bridge.SeqioVocabulary(toy_vocabulary())
        assert adapter.vocab_size == 259 and adapter.encode("é") == ByteVocabulary().encode("é")
        assert adapter.encode_tf(tf.constant("é")).numpy().tolist() == adapter.encode("é")
        assert adapter.encode_tf(tf.constant(["é", ""])).to_list() == [adapter.encode("é"), []]
        ids = [*adapter.encode("é"), 1, 9]
        assert adapter.decode(ids) == "é" and adapter.decode_tf(tf.constant(ids)).numpy().decode() == "é"
        assert [t.decode() for t in adapter.decode_tf(tf.constant([ids, ids])).numpy()] == ["é", "é"]

        # A data folder's mixture, by explicit call.
        sources.set_data_dir({str(FIXTURES)!r})
        seqio_bridge.register("superni", vocabulary="bytes")
        compare(get_mixture("superni"), ByteVocabulary(), 0)
        assert seqio.get_mixture_or_task("superni_held_out").num_input_examples("test") == 12

        # A name that is somebody else's is left alone.
        seqio.TaskRegistry.add("theirs", source=seqio.FunctionDataSource(lambda split, shuffle_files: None, ["train"]),
            output_features=seqio.get_mixture_or_task("toy").output_features)
        try:
            seqio_bridge.register_task(Prompted(PARITY), name="theirs")
            raise AssertionError("taken")
        except UserError as error:
            assert "another task named 'theirs'" in str(error)

        # seqio was there first: what is catalogued later is registered when the hook is asked again.
        from flan_jax.data.seqio_bridge import hook as seqio_hook
        from flan_jax.mixing.mixture import register_mixture
        from flan_jax.tasks.catalog import register
        register(dataclasses.replace(PARITY, name="late"))
        register_mixture("late_mixture", lambda: toy_mixture("late_mixture"))
        seqio_hook.install()
        assert "late_zs_noopt" in seqio.TaskRegistry.names() and "late_mixture" in seqio.MixtureRegistry.names()
    """)
