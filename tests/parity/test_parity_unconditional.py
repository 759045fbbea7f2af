"""Options scored against their likelihood behind no prompt: transformers' log-likelihoods, lm-evaluation-harness's verdicts."""

import json

import harness_peer
import numpy as np
import pytest
from test_parity_harness import decoder, encoder_decoder

from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.runner import evaluate
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.experiments.weights.pretrained import run_of_folder

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

CLOSE = 1e-4
QUESTIONS = harness_peer.QUESTIONS


@pytest.fixture(scope="module", params=["llama", "qwen", "t5"])
def answered(request, tmp_path_factory):
    """Folder, vocabulary, the examples and the result of them, of a model with random weights."""
    folder = tmp_path_factory.mktemp("models") / request.param
    if request.param == "t5":
        encoder_decoder(folder)
    else:
        decoder(folder, begins=request.param == "llama", attention_bias=request.param == "qwen")
    config, vocabulary = run_of_folder(str(folder)), load_vocabulary(folder)
    weights = load_weights(config)
    predictor = Predictor(
        weights.graphdef, weights.params, encode=vocabulary.encode, decode=vocabulary.decode, batch_size=4,
        target_length=32, vocabulary_size=vocabulary.size,
    )  # fmt: skip
    examples = [
        EvalExample(
            np.array([*vocabulary.encode(question.lower()), vocabulary.eos_id]), tuple(options),
            (options["ABCD".index(answer)],), index, 0,
        )
        for index, (question, options, answer) in enumerate(QUESTIONS)
    ]  # fmt: skip
    (result,) = evaluate(predictor, [EvalTask("cats", "c", "accuracy", "rank", examples)], option_score="unconditional")
    return request.param, folder, vocabulary, examples, result


def scorer(kind, folder, vocabulary):
    """(prompt's ids, option's ids) → log-likelihood (nats) of the option, by transformers alone."""
    if kind == "t5":
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

        def score(prompt, option):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([option])).logits[0]
            return float(torch.log_softmax(logits.double(), -1)[range(len(option)), option].sum())

        return score, [vocabulary.eos_id]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    begin = [1] if kind == "llama" else []

    def score(prompt, option):
        ids = [*begin, *prompt, *option]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        rows = range(len(ids) - len(option) - 1, len(ids) - 1)
        return float(torch.log_softmax(logits.double(), -1)[rows, option].sum())

    # A model that reads no token in front of a text reads its end where there is nothing else, as the harness has it.
    return score, [] if begin else [vocabulary.eos_id]


def test_both_log_likelihoods_are_those_of_transformers(answered):
    kind, folder, vocabulary, examples, result = answered
    score, nothing = scorer(kind, folder, vocabulary)
    for example, prediction in zip(examples, result.predictions, strict=True):
        ids = [[*vocabulary.encode(option), vocabulary.eos_id] for option in example.options]
        behind = [score(example.inputs.tolist(), own) for own in ids]
        alone = [score(nothing, own) for own in ids]
        np.testing.assert_allclose(prediction.option_scores, behind, atol=CLOSE)
        np.testing.assert_allclose(prediction.prior_scores, alone, atol=CLOSE)
        assert prediction.prediction == example.options[int(np.argmax(np.subtract(behind, alone)))]


def test_the_accuracy_is_the_harness_s_acc_mutual_info(answered, tmp_path):
    """Fed with these log-likelihoods, its own task gives each question the same verdict."""
    from lm_eval.api.task import ConfigurableTask

    result = answered[-1]
    path = tmp_path / "cats.jsonl"
    rows = [{"q": q, "options": options, "gold": "ABCD".index(answer)} for q, options, answer in QUESTIONS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = ConfigurableTask(
        config={
            "task": "cats", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{q}}",
            "doc_to_choice": "{{options}}", "doc_to_target": "{{gold}}", "metric_list": [{"metric": "acc_mutual_info"}],
        }
    )  # fmt: skip
    verdicts = []
    for row, prediction in zip(rows, result.predictions, strict=True):
        answers = [(own, False) for own in (*prediction.option_scores, *prediction.prior_scores)]
        verdicts.append(float(task.process_results(row, answers)["acc_mutual_info"]))
    assert [float(own.score) for own in result.predictions] == verdicts
    assert result.value == pytest.approx(np.mean(verdicts))
    assert {prediction.prediction for prediction in result.predictions}  # all were asked
    plain = [own.options[int(np.argmax(own.option_scores))] for own in result.predictions]
    assert plain != [own.prediction for own in result.predictions], "the prior decides somewhere"
