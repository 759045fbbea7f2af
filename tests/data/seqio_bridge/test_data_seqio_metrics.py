"""A seqio task's own metrics, against seqio's Evaluator on the same model outputs."""

import functools
import re

import numpy as np
import pytest
import seqio
import third_party_tasks as theirs

from flan_jax.data.prepare.config import PrepareConfig, TokenizeConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.seqio_bridge.mixtures import seqio_mixture
from flan_jax.data.seqio_bridge.tasks import SeqioTask, stored_example, task_metrics_of
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore

LENGTHS = {"inputs": 40, "targets": 10}
MEASURED = ("their_parity", "their_few_shot", "their_reading", "their_language", "their_scores", "their_objects")


def stored_examples(name, folder):
    task = SeqioTask(name)
    report = prepare(
        [(task, ["validation"])],
        PrepareConfig(task.own_vocabulary(), TokenizeConfig(LENGTHS)),
        store=TokenStore(folder),
    )
    stored = TokenStore(folder).open(name, "validation", report.splits[0].fingerprint)
    return [stored_example(stored, index) for index in range(len(stored))]


def made_up_outputs(examples):
    """Ids that a model may have written, padded behind the end of sequence, and scores; the same every time."""
    rng = np.random.default_rng(0)
    written = np.zeros((len(examples), LENGTHS["targets"]), np.int32)
    for row, example in enumerate(examples):
        source = examples[rng.integers(len(examples))] if row % 3 else example
        written[row, : len(source["targets"])] = source["targets"]
    written[1] = rng.integers(3, 262, LENGTHS["targets"])  # neither text nor an end
    return written, rng.normal(-20, 5, len(examples))


def evaluated_by_seqio(name, written, scores):
    task = seqio.TaskRegistry.get(name)
    converter = (
        seqio.EncDecFeatureConverter(pack=False)
        if "inputs" in task.output_features
        else seqio.LMFeatureConverter(pack=False)
    )
    lengths = {feature: LENGTHS[feature] for feature in task.output_features}
    evaluator = seqio.Evaluator(name, converter, eval_split="validation", seed=0, sequence_length=lengths)
    metrics, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=lambda dataset: [(int(index), written[index].tolist()) for index, _ in dataset.as_numpy_iterator()],
        score_fn=lambda dataset: [(int(index), float(scores[index])) for index, _ in dataset.as_numpy_iterator()],
    )
    found = metrics.result()[name]
    evaluator.close()
    return {key: getattr(value, "value", getattr(value, "textdata", value)) for key, value in found.items()}


@pytest.mark.parametrize("name", MEASURED)
def test_numbers_are_those_of_seqios_evaluator(name, tmp_path):
    examples = stored_examples(name, tmp_path)
    task_metrics = task_metrics_of(SeqioTask(name), examples)
    written, scores = made_up_outputs(examples)
    vocabulary = SeqioTask(name).own_vocabulary()
    texts = [vocabulary.decode(row.tolist()) for row in written] if "text" in task_metrics.outputs else []
    given = scores if "score" in task_metrics.outputs else np.zeros(0)
    values = task_metrics(np.arange(len(examples)), texts, given)
    expected = evaluated_by_seqio(name, written, scores)
    assert {key: value for key, value in values.items()} == pytest.approx(expected)
    assert values.keys() == expected.keys()
    numbers = [value for value in values.values() if isinstance(value, float)]
    assert any(value not in (0.0, 100.0) for value in numbers)
    if texts and name != "their_objects":
        right = [task_metrics.is_correct(row, text) for row, text in enumerate(texts)]
        assert right[0] or name == "their_reading"
        assert not right[1]


def test_a_resample_may_repeat_examples(tmp_path):
    task_metrics = task_metrics_of(SeqioTask("their_parity"), stored_examples("their_parity", tmp_path))
    assert task_metrics(np.array([0, 0, 0, 1]), ["even", "even", "odd", "even"], np.zeros(0))["accuracy"] == 50.0


def register(name, **more):
    if name not in seqio.TaskRegistry.names():
        seqio.TaskRegistry.add(
            name,
            source=theirs.SOURCE,
            preprocessors=[functools.partial(theirs.question, labels=theirs.LABELS), *theirs.TOKENS],
            output_features=theirs.FEATURES,
            **more,
        )
    return SeqioTask(name)


def missing_feature(text, example=None, is_target=False):
    return example["no_such_feature"] if is_target else text


def failing(targets, predictions):
    raise ZeroDivisionError("no predictions of class 2")


def with_aux(targets, predictions, aux_values):
    return {"aux": 1.0}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"metric_fns": [theirs.accuracy], "postprocess_fn": missing_feature},
         "'bad_0': its postprocess_fn fails on the target 'even' of example 0: KeyError: 'no_such_feature'. It was given the features idx, inputs"),
        ({"metric_fns": [failing]}, "'bad_1': its metric failing fails: ZeroDivisionError: no predictions of class 2"),
        ({"metric_fns": [theirs.exact, theirs.exact]}, "'bad_2': two of its metrics return the value 'exact'"),
        ({"metric_fns": [with_aux]}, "'bad_3' has no metric function of (targets, predictions) or (targets, scores)"),
    ],
)  # fmt: skip
def test_somebody_elses_mistake_is_named(more, message, request, tmp_path):
    name = f"bad_{re.search(r'bad_(.)', message)[1]}"
    task = register(name, **more)
    examples = stored_examples("their_parity", tmp_path)
    with pytest.raises(UserError, match=re.escape(message)):
        task_metrics_of(task, examples)(np.arange(12), ["even"] * 12, np.zeros(0))


def test_a_metric_that_needs_more_is_left_out_and_said_so(tmp_path):
    task = register("their_aux", metric_fns=[theirs.exact, with_aux])
    task_metrics = task_metrics_of(task, stored_examples("their_parity", tmp_path))
    assert task_metrics.notes == ("The metric with_aux is left out: it reads outputs that are not computed here.",)
    assert task_metrics(np.arange(12), ["even"] * 12, np.zeros(0)) == {"exact": 0.5}
    register("their_aux_only", metric_fns=[with_aux])
    assert seqio_mixture("their_aux_only").suites == ()
