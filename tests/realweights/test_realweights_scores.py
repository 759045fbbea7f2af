"""Options of real tasks have transformers' log-likelihoods, and real clusters their accuracy, without any training."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from deep import DEEP
from realweights_peer import small_enough

from flan_jax.cli import gin_config
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import eval_suites, make_predictor
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.tasks.user_modules import import_modules

pytestmark = [
    pytest.mark.realweights,
    pytest.mark.realdata,
    pytest.mark.filterwarnings("default"),
    pytest.mark.timeout(1200),
]

GOLDEN = Path(__file__).parents[1] / "golden" / "smollm2_zero_shot.json"
LENGTHS = "{'inputs': 192, 'targets': 96}"
"""Options of piqa have some 80 tokens; longer ones would be scored up to the length only."""
EXAMPLES = 24 if DEEP else 8
"""Of the 24 a task that the golden file has; `FLAN_JAX_DEEP=1` measures them all."""
COMPARED = 3
"""Examples a task whose options are scored in PyTorch too."""


@pytest.fixture(scope="module", params=["plain", "chat"])
def way(request):
    """Whether inputs stand for themselves or as a user's turn in the model's chat template."""
    return request.param


@pytest.fixture(scope="module")
def measured(way, realweights, realdata, tmp_path_factory):
    """Each task's examples with the scores of their options, and the options' ids."""
    folder = tmp_path_factory.mktemp("measured")
    import_modules(["published_tasks"])
    bindings = [
        f"CHECKPOINT_PATH={str(realweights)!r}", f"EVAL_OUTPUT_DIR={str(folder / 'out')!r}", f"STORE={str(folder / 'store')!r}",
        "MIXTURE_OR_TASK_NAME='published_small'", f"TASK_FEATURE_LENGTHS={LENGTHS}", "EvalConfig.batch_size=24",
        f"SOURCE_DIR={str(realdata / 'nlp_clusters')!r}", f"EvalConfig.max_examples={EXAMPLES}",
        f"CHAT_TEMPLATE={way == 'chat'}",
    ]  # fmt: skip
    config = gin_config.load(["models/huggingface.gin", "runs/eval.gin"], bindings).config
    prepare_run(config)
    data, weights = open_data(config, training=False), load_weights(config)
    predictor = make_predictor(weights.graphdef, weights.params, data, config)
    tasks = [task for tasks in eval_suites(data, config).values() for task in tasks]
    scores = iter(predictor.rank([example for task in tasks for example in task.examples]))
    options = {option for task in tasks for example in task.examples for option in example.options}
    # An answer ends with the end of the text; inside a template a turn's end is the template's to write.
    end = [data.vocabulary.eos_id] if way == "plain" else []
    ids = {option: [*data.vocabulary.encode(option), *end] for option in options}
    return {task.name: [(example, next(scores)) for example in task.examples] for task in tasks}, ids


def test_option_scores_are_the_log_likelihoods_of_transformers(measured, peer):
    tasks, ids = measured
    compared = 0
    for examples in tasks.values():
        for example, scores in examples[:COMPARED]:
            theirs = [peer.log_likelihood(example.inputs, ids[option]) for option in example.options]
            assert small_enough(scores - np.array(theirs)), (example.inputs_text, scores, theirs)
            compared += len(theirs)
    assert compared >= 40


def test_inputs_in_the_chat_template_are_those_of_transformers(way, measured, peer):
    if way == "plain":
        assert not any(1 in example.inputs for examples in measured[0].values() for example, _ in examples)
        return
    before, behind = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    for examples in measured[0].values():
        for example, _ in examples:
            text = peer.tokenizer.decode(example.inputs)
            assert text.count(before) == 1
            assert text.endswith(behind)
            turns = [{"role": "user", "content": text.split(before)[1].removesuffix(behind)}]
            ids = peer.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            assert example.inputs.tolist() == ids


def test_accuracy_without_training_is_as_it_was(way, measured):
    """Example by example, `+` where it is right; one a task may fall the other way where a processor rounds otherwise."""
    tasks, _ = measured
    right = {
        name: "".join(
            "-+"[example.options[int(np.argmax(scores))] in example.references] for example, scores in examples
        )
        for name, examples in sorted(tasks.items())
    }
    found = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        assert DEEP, "the golden file has all examples: set FLAN_JAX_DEEP=1 too"
        GOLDEN.write_text(json.dumps({**found, way: right}, indent=1) + "\n", encoding="utf-8")
        found[way] = right
    assert right.keys() == found[way].keys()
    for name, marks in right.items():
        assert len(marks) == EXAMPLES
        assert sum(one != other for one, other in zip(marks, found[way][name], strict=False)) <= 1, (way, name, marks)
    assert len(set(right.values())) > 2, "all tasks alike would show nothing"
