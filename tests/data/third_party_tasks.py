"""A third party's module: seqio tasks and mixtures that know nothing of flan_jax.

Records are made here; the tasks that read files look in the folder THIRD_PARTY_DATA, which a
process that finds none makes and fills.
"""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import gin
import numpy as np
import seqio
import tensorflow as tf

if "THIRD_PARTY_DATA" not in os.environ:
    os.environ["THIRD_PARTY_DATA"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["THIRD_PARTY_DATA"], ignore_errors=True)
DATA = Path(os.environ["THIRD_PARTY_DATA"])
VOCABULARY = seqio.ByteVocabulary(extra_ids=3)
FEATURES = {"inputs": seqio.Feature(VOCABULARY), "targets": seqio.Feature(VOCABULARY)}
SIZES = {"train": 40, "validation": 12}
COLOURS = ("red", "green", "blue", "grey")


def records(split, shuffle_files=False, seed=None):
    del shuffle_files, seed
    first = {"train": 0, "validation": 100}[split]
    numbers = np.arange(first, first + SIZES[split], dtype=np.int32)
    return tf.data.Dataset.from_tensor_slices({"number": numbers, "colour": [COLOURS[n % 4] for n in numbers]})


def without_seed(split, shuffle_files):
    return records(split, shuffle_files)


SOURCE = seqio.FunctionDataSource(records, splits=tuple(SIZES), num_input_examples=SIZES)
TOKENS = [seqio.preprocessors.tokenize, seqio.CacheDatasetPlaceholder(), seqio.preprocessors.append_eos_after_trim]


# A classification task: text labels in, label ids out.
@seqio.map_over_dataset
def question(example, labels):
    number = example["number"]
    return {
        "inputs": tf.strings.join(["is ", tf.strings.as_string(number), " even or odd?"]),
        "targets": tf.constant(labels)[number % 2],
        "idx": number,
    }


def label_id(text, example=None, is_target=False, labels=()):
    del example, is_target
    return labels.index(text) if text in labels else -1


def accuracy(targets, predictions):
    return {"accuracy": 100 * float(np.mean(np.equal(targets, predictions)))}


def class_counts(targets, predictions):
    return {"predicted": seqio.metrics.Scalar(len(set(predictions))), "note": seqio.metrics.Text("counts of classes")}


LABELS = ("even", "odd")
seqio.TaskRegistry.add(
    "their_parity",
    source=SOURCE,
    preprocessors=[functools.partial(question, labels=LABELS), *TOKENS],
    postprocess_fn=functools.partial(label_id, labels=LABELS),
    metric_fns=[accuracy, class_counts],
    output_features=FEATURES,
)


# Few-shot prompts, as seqio makes them.
@seqio.map_over_dataset
def pair(example):
    text = tf.strings.as_string(example["number"])
    return {"inputs": tf.strings.join(["after ", text]), "targets": tf.strings.as_string(example["number"] + 1)}


def exact(targets, predictions):
    return {"exact": float(np.mean([t == p for t, p in zip(targets, predictions, strict=True)]))}


seqio.TaskRegistry.add(
    "their_few_shot",
    source=seqio.experimental.FewshotDataSource(
        SOURCE, num_shots=2, train_preprocessors=[pair], eval_preprocessors=[pair], train_split="train"
    ),
    preprocessors=[
        functools.partial(seqio.experimental.fewshot_preprocessor, inputs_prefix="q: ", targets_prefix="a: "),
        *TOKENS,
    ],
    metric_fns=[exact],
    output_features=FEATURES,
)


# Several accepted answers, weights and a nested list, which the metric reads from the example.
@seqio.map_over_dataset
def reading(example):
    number = example["number"]
    text = tf.strings.as_string(number)
    return {
        "inputs": tf.strings.join(["which colour has ", text, "? ", example["colour"]]),
        "targets": example["colour"],
        "answers": tf.cond(
            number % 3 == 0,
            lambda: tf.stack([example["colour"], tf.strings.join(["the ", example["colour"]])]),
            lambda: example["colour"][None],
        ),
        "weight": tf.cast(number % 5, tf.float32) + 0.5,
        "spans": tf.RaggedTensor.from_row_lengths(tf.range(3), tf.stack([number % 3, 3 - number % 3])),
        "bytes": tf.constant(b"\xff\xfe"),
        "even": number % 2 == 0,
    }


def answers_of(text, example=None, is_target=False):
    if not is_target:
        return text
    return {
        "answers": [answer.decode() for answer in example["answers"]],
        "weight": example["weight"],
        "spans": int(example["spans"].nrows()),  # a tf.RaggedTensor, as seqio's evaluator gives it
        "first": int(example["targets"][0]),
    }


def best_match(targets, predictions):
    assert all(target["spans"] == 2 for target in targets)
    scores = [
        target["weight"] * max(float(prediction.startswith(answer[:1])) for answer in target["answers"])
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    return {"f1": 100 * float(np.sum(scores) / np.sum([target["weight"] for target in targets])), "em": 0.0}


seqio.TaskRegistry.add(
    "their_reading",
    source=SOURCE,
    preprocessors=[reading, *TOKENS],
    postprocess_fn=answers_of,
    metric_fns=[best_match],
    output_features=FEATURES,
)


# Scored, not generated; nothing but targets.
def likelihood(targets, scores):
    return {"log_likelihood": float(np.mean(scores)), "worst": seqio.metrics.Scalar(np.min(scores)), "n": len(targets)}


@seqio.map_over_dataset
def sentence(example):
    return {"targets": tf.strings.join([example["colour"], " comes after ", example["colour"]])}


seqio.TaskRegistry.add(
    "their_language",
    source=SOURCE,
    preprocessors=[sentence, *TOKENS],
    metric_fns=[likelihood],
    output_features={"targets": FEATURES["targets"]},
)
seqio.TaskRegistry.add(
    "their_scores",
    source=SOURCE,
    preprocessors=[functools.partial(question, labels=LABELS), *TOKENS],
    postprocess_fn=functools.partial(label_id, labels=LABELS),
    metric_fns=[likelihood, accuracy],
    output_features=FEATURES,
)


# Stochastic, over a function that takes no seed.
@seqio.map_over_dataset(num_seeds=2)
def noisy(example, seeds):
    drawn = tf.random.stateless_uniform([], seeds[0], 0, 1000, tf.int32)
    other = tf.random.stateless_uniform([], seeds[1], 0, 1000, tf.int32)
    return {
        "inputs": tf.strings.join(
            ["add ", tf.strings.as_string(drawn), " and ", tf.strings.as_string(example["number"])]
        ),
        "targets": tf.strings.as_string(other),
    }


seqio.TaskRegistry.add(
    "their_noise",
    source=seqio.FunctionDataSource(without_seed, splits=tuple(SIZES)),
    preprocessors=[noisy, *TOKENS],
    output_features=FEATURES,
)


def write_data(folder):
    """Makes the files that ``their_lines`` and ``their_records`` read."""
    for part in range(2):
        lines = "".join(f"line {part}{n}\tanswer {n}\n" for n in range(7))
        (folder / f"lines-{part}.txt").write_text(lines)
    with tf.io.TFRecordWriter(str(folder / "examples.tfrecord")) as writer:
        for number in range(9):
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"{name} {number}".encode()]))
                for name in FEATURES
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


if not (DATA / "examples.tfrecord").exists():
    write_data(DATA)


# Files: lines of text, and examples of TensorFlow.
def split_line(dataset):
    def parts(line):
        both = tf.strings.split(line, "\t")
        return {"inputs": both[0], "targets": both[1]}

    return dataset.map(parts)


seqio.TaskRegistry.add(
    "their_lines",
    source=seqio.TextLineDataSource({"train": f"{DATA}/lines-*.txt", "test": f"{DATA}/lines-0.txt"}),
    preprocessors=[split_line, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    metric_fns=[exact],
    output_features=FEATURES,
)
seqio.TaskRegistry.add(
    "their_records",
    source=seqio.TFExampleDataSource(
        {"train": f"{DATA}/examples.tfrecord"},
        {"inputs": tf.io.FixedLenFeature([], tf.string), "targets": tf.io.FixedLenFeature([], tf.string)},
    ),
    preprocessors=TOKENS,
    output_features=FEATURES,
)


# Rejects one record in training.
@seqio.map_over_dataset
def picky(example):
    with tf.control_dependencies(
        [tf.debugging.assert_none_equal(example["number"], 7, message="seven is not allowed")]
    ):
        return {"inputs": tf.strings.as_string(example["number"]), "targets": example["colour"]}


seqio.TaskRegistry.add("their_picky", source=SOURCE, preprocessors=[picky, *TOKENS], output_features=FEATURES)

seqio.TaskRegistry.add(
    "their_bytes",
    source=SOURCE,
    preprocessors=[functools.partial(question, labels=LABELS), *TOKENS],
    postprocess_fn=functools.partial(label_id, labels=LABELS),
    metric_fns=[accuracy],
    output_features={name: seqio.Feature(seqio.ByteVocabulary()) for name in FEATURES},
)


seqio.TaskRegistry.add(
    "their_objects",
    source=SOURCE,
    preprocessors=[functools.partial(question, labels=LABELS), *TOKENS],
    postprocess_fn=functools.partial(label_id, labels=LABELS),
    metric_objs=[
        seqio.metrics.PassthroughLegacyMetric.from_metric_fn(
            accuracy, functools.partial(label_id, labels=LABELS)
        ).empty(),
        seqio.metrics.PassthroughLegacyMetric.from_metric_fn(likelihood).empty(),
    ],
    output_features=FEATURES,
)


def by_size(task):
    return 2 * task.num_input_examples("train")


seqio.MixtureRegistry.add("their_pair", [("their_parity", by_size), ("their_few_shot", 20)])
seqio.MixtureRegistry.add("their_mixture", [("their_pair", 10), ("their_reading", 4), ("their_parity", 1.5)])


# Preprocessors that gin configures, as T5's are. No task of this module has them.
@gin.configurable(module="theirs")
def styled(word="fine"):
    return word


@gin.configurable(module="theirs")
@seqio.map_over_dataset
def asked(example, mark="?", style=None):
    number = tf.strings.as_string(example["number"])
    return {"inputs": tf.strings.join([number, mark, "" if style is None else style()]), "targets": number}


@gin.configurable(module="theirs")
def shouted(dataset, times=1):
    return dataset.repeat(times)


@gin.configurable(module="theirs")
def unrelated(value=1):
    return value
