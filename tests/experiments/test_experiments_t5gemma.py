"""A T5Gemma, whose encoder reads what its tokenizer puts in front of a text: in training, and where it is measured."""

import jax
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample
from flan_jax.experiments.batches import make_batches
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import make_predictor
from flan_jax.experiments.options import EvalConfig
from flan_jax.mixing.mixture import MIXTURES, register_mixture
from flan_jax.models.build import abstract_model, apply
from flan_jax.testing.models import random_params, tiny_t5gemma
from flan_jax.testing.tasks import toy_mixture
from flan_jax.train.loss import token_loss
from flan_jax.train.optimizer import OptimizerConfig

BOS, INPUTS = 5, 40
MODEL = tiny_t5gemma(vocab_size=272, num_encoder_layers=1, num_decoder_layers=1)


def run_config(folder, model, inputs=INPUTS) -> RunConfig:
    if "toy" not in MIXTURES:
        register_mixture("toy", toy_mixture)
    return RunConfig.from_options(
        model_dir=str(folder / "run"),
        mixture="toy",
        lengths={"inputs": inputs, "targets": 48},
        model=model,
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-3),
        steps=1,
        batch_size=4,
        store=str(folder / "store"),
        evaluation=EvalConfig(suites=()),
    )


def first_batch(config):
    prepare_run(config)
    data = open_data(config)
    return data, next(make_batches(config, data.train, data.weights, data.curriculum))


def examples_of(batch):
    """Inputs and targets of every example, as a row has them."""
    for row in range(len(batch["encoder_segment_ids"])):
        for segment in range(1, batch["encoder_segment_ids"][row].max() + 1):
            yield tuple(
                batch[f"{side}_tokens"][row][batch[f"{side.split('_')[0]}_segment_ids"][row] == segment]
                for side in ("encoder_input", "decoder_target")
            )


def test_what_is_measured_begins_as_what_was_trained(tmp_path):
    """The loss of a batch, its tokens summed, is what the evaluation finds for its examples one by one."""
    config = run_config(tmp_path, MODEL.with_start_token(BOS, None), inputs=96)
    data, batch = first_batch(config)
    examples = list(examples_of(batch))
    assert len(examples) > config.feed.batch_size  # packed
    stored = {tuple(task.inputs(i)) for task in data.train for i in range(len(task))}
    for inputs, _ in examples:
        assert inputs[0] == BOS
        assert tuple(inputs[1:]) in stored
    params = jax.tree.map(jax.numpy.asarray, random_params(config.model))
    graphdef = abstract_model(config.model)[0]
    predictor = make_predictor(graphdef, params, data, config)
    asked = [EvalExample(inputs[1:], (), ("",), 0, 0, targets=targets) for inputs, targets in examples]
    logits = jax.jit(lambda params, batch: apply(graphdef, params, batch))(params, batch)
    sums = token_loss(logits, batch, num_tasks=len(data.train))
    np.testing.assert_allclose(-predictor.loglikelihood(asked).sum(), sums.loss, rtol=1e-5)


def test_the_start_takes_its_place_of_the_length_of_inputs(tmp_path):
    plain = run_config(tmp_path, MODEL.with_start_token(BOS, False))
    data, batch = first_batch(plain)
    lengths = [task.manifest["max_input_length"] for task in data.train]
    assert max(lengths) == INPUTS  # some are cut
    assert BOS not in {inputs[0] for inputs, _ in examples_of(batch)}
    started = plain.with_options(model=MODEL.with_start_token(BOS, True))
    with pytest.raises(
        UserError, match=rf"inputs of up to {INPUTS} tokens, longer than the {INPUTS - 1} of a row behind"
    ):
        make_batches(started, data.train, data.weights, data.curriculum)
    data, _ = first_batch(started)
    assert max(task.manifest["max_input_length"] for task in data.train) == INPUTS - 1
