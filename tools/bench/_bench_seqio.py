"""What ``bench_data.py`` measures of seqio, each mode in a process of its own.

As its users run it: one ``seqio.Task`` per task whose examples were cached, so that nothing is tokenised, one
``seqio.Mixture`` with the same rates, packed by ``EncDecFeatureConverter``, batched and prefetched as T5X does.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _bench_process import Report, measured, peak_mb, throughput

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SIDES = ("inputs", "targets")


def main(mode: str, settings: dict[str, Any], report: Report) -> None:
    begun = time.perf_counter()
    import seqio  # noqa: F401
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    report(import_s=time.perf_counter() - begun, import_peak_mb=peak_mb())
    {"cache": cache, "feed": feed, "restore": restore}[mode](settings, report)


def cache(settings: dict[str, Any], report: Report) -> None:
    """Writes the store's examples where and how ``seqio_cache_tasks`` writes a task's."""
    import seqio
    import tensorflow as tf

    from flan_jax.store.store import TokenStore

    store, split = TokenStore(settings["store"]), settings["split"]
    for name in settings["names"]:
        task = store.open(name, split)
        folder = os.path.join(settings["cache"], seqio.get_task_dir_from_name(name))
        os.makedirs(folder)
        with tf.io.TFRecordWriter(f"{seqio.get_cached_tfrecord_prefix(folder, split)}-00000-of-00001") as writer:
            for index in range(len(task)):
                features = {
                    side: tf.train.Feature(int64_list=tf.train.Int64List(value=getattr(task, side)(index).tolist()))
                    for side in SIDES
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
        info = {
            "num_shards": 1,
            "features": {side: {"shape": [None], "dtype": "int32"} for side in SIDES},
            "seqio_version": seqio.__version__,
        }
        stats = {"examples": len(task)}
        for side, lengths in zip(SIDES, (task.input_lengths, task.target_lengths), strict=True):
            stats |= {f"{side}_tokens": int(lengths.sum()), f"{side}_max_tokens": int(lengths.max())}
        Path(seqio.get_cached_info_path(folder, split)).write_text(json.dumps(info))
        Path(seqio.get_cached_stats_path(folder, split)).write_text(json.dumps(stats))
        Path(folder, "COMPLETED").touch()
    report(cached=len(settings["names"]))


def register(settings: dict[str, Any]) -> None:
    """The tasks and the mixture, as the module of a seqio user would."""
    import seqio

    def no_source(split: str, shuffle_files: bool, seed: int | None = None) -> Any:
        raise AssertionError("the source of a cached task is not read")

    vocabulary = seqio.PassThroughVocabulary(settings["vocabulary_size"], eos_id=settings["eos_id"])
    seqio.add_global_cache_dirs([settings["cache"]])
    for name in settings["names"]:
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(no_source, splits=[settings["split"]]),
            preprocessors=[seqio.CacheDatasetPlaceholder(required=True)],
            output_features={side: seqio.Feature(vocabulary, add_eos=False) for side in SIDES},
        )
    rates = [(name, float(size)) for name, size in zip(settings["names"], settings["sizes"], strict=True)]
    seqio.MixtureRegistry.add("bench", rates)


def open_iterator(settings: dict[str, Any]) -> Any:
    """An iterator of tf.data over the packed batches."""
    import seqio
    import tensorflow as tf

    dataset = seqio.get_dataset(
        "bench",
        settings["lengths"],
        seqio.EncDecFeatureConverter(pack=True),
        dataset_split=settings["split"],
        use_cached=True,
        shuffle=True,
        num_epochs=None,
        seed=settings["seed"],
        batch_size=settings["batch_size"],
    )
    return iter(dataset.prefetch(tf.data.experimental.AUTOTUNE))


def arrays(iterator: Any) -> Iterator[dict[str, Any]]:
    """Its batches as NumPy views, without copying."""
    import numpy as np

    for batch in iterator:
        yield {name: np.asarray(memoryview(value)) for name, value in batch.items()}


def feed(settings: dict[str, Any], report: Report) -> None:
    """First batch, throughput, and a checkpoint of the iterator with the digest of the batch after it."""
    import tensorflow as tf

    begun = time.perf_counter()
    register(settings)
    report(register_s=time.perf_counter() - begun)
    begun = time.perf_counter()
    iterator = open_iterator(settings)
    batches = arrays(iterator)
    opened = time.perf_counter()
    next(batches)
    report(open_s=opened - begun, first_batch_s=time.perf_counter() - begun, first_batch_peak_mb=peak_mb())
    report(**throughput(batches, settings["seconds"], settings["warm_up"]), peak_mb=peak_mb())
    if not settings["save"]:
        return
    begun = time.perf_counter()
    folder = Path(settings["position"])
    try:
        tf.train.Checkpoint(iterator=iterator).write(str(folder / "position"))
    except tf.errors.OpError as error:
        report(position_error=str(error.message).splitlines()[0][:300])
        return
    report(
        position_save_s=time.perf_counter() - begun,
        position_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        next_batch=digest(next(batches)),
    )


def restore(settings: dict[str, Any], report: Report) -> None:
    """A new iterator at a saved position: from opening the tasks to the batch there."""
    import tensorflow as tf

    register(settings)
    begun = time.perf_counter()
    iterator = open_iterator(settings)
    tf.train.Checkpoint(iterator=iterator).read(str(Path(settings["position"]) / "position"))
    batch = next(arrays(iterator))
    report(restore_s=time.perf_counter() - begun, next_batch=digest(batch))


def digest(batch: dict[str, Any]) -> str:
    """Of the tokens of both sides."""
    state = hashlib.blake2b(digest_size=8)
    for key in ("encoder_input_tokens", "decoder_target_tokens"):
        state.update(batch[key].tobytes())
    return state.hexdigest()


if __name__ == "__main__":
    measured(main)
