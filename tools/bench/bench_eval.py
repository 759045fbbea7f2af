"""Measures evaluation beside lm-evaluation-harness with transformers: the same requests, in turns in one process.

    python tools/bench/bench_eval.py --decoder weights/smollm2_135m_instruct --t5 t5_small --json docs/benchmarks/eval.json

Both are models of the harness: its own ``hf``, and ours. Needs what ``make parity-env`` installs. Of each workload a result is
the median of the rounds, with the least and the greatest; tokenization is counted, loading and compilation are not.

    options       few-shot questions whose four options of several words are scored behind the question
    letters       the same with the options in the prompt; what is scored is a letter, which both read behind one prompt
    generation    writing on from the questions, so many tokens
    examples_per_s    questions a second
    faster_than       by which factor ours does more of them
    difference        largest difference of a log-likelihood (nats) between both; argmaxes and texts that differ are counted
"""

import argparse
import dataclasses
import datetime
import json
import os
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _bench_machine import machine, versions

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import jax
import numpy as np
from _bench_presets import PRESETS
from _bench_rounds import in_turns, log, summary

from flan_jax.models.build import init_model
from flan_jax.models.huggingface import writer
from flan_jax.testing import tokenizers

SYSTEMS = ("flan_jax", "hf")
WORDS = [
    "the",
    "a",
    "small",
    "large",
    "red",
    "green",
    "cat",
    "dog",
    "tree",
    "house",
    "door",
    "mat",
    "user",
    "text",
    "end",
    "turn",
    "begin",
    "ran",
    "sat",
    "stood",
    "by",
    "to",
    "on",
    "under",
]


class Requests(NamedTuple):
    """What is asked.

    Attributes:
        options: (prompt, option) pairs, the options of a question in a row.
        letters: the same questions with their options in the prompt, to be answered by a letter.
        prompts: to go on from.
        per_question: options of a question.
    """

    options: list[tuple[str, str]]
    letters: list[tuple[str, str]]
    prompts: list[str]
    per_question: int


def draw(
    questions: int,
    *,
    shots: int,
    words: tuple[int, int],
    option_words: tuple[int, int],
    seed: int,
    per_question: int = 4,
) -> Requests:
    """Draws questions of one task: all prompts begin with the same solved examples.

    Args:
        questions: how many; as many prompts to go on from.
        shots: solved examples in front.
        words: least and most words of a question.
        option_words: least and most words of an option.
        seed: of every draw.
        per_question: options of a question.
    """
    rng = np.random.default_rng(seed)

    def some(limits: tuple[int, int]) -> str:
        return " ".join(rng.choice(WORDS, rng.integers(limits[0], limits[1] + 1)))

    def question() -> tuple[str, list[str]]:
        return some(words), [f"{some(option_words)} {index}" for index in range(per_question)]

    letters = "ABCDEFGH"[:per_question]
    solved = [question() for _ in range(shots)]
    plain, listed = "", ""
    for number, (text, options) in enumerate(solved):
        plain += f"Question: {text}?\nAnswer: {options[number % per_question]}\n\n"
        listed += f"{_listed(text, options, letters)} {letters[number % per_question]}\n\n"
    asked = [question() for _ in range(questions)]
    return Requests(
        [(f"{plain}Question: {text}?\nAnswer:", f" {option}") for text, options in asked for option in options],
        [(listed + _listed(text, options, letters), f" {letter}") for text, options in asked for letter in letters],
        [f"{plain}Question: {text}?\nAnswer:" for text, _ in asked],
        per_question,
    )


def _listed(text: str, options: Sequence[str], letters: str) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip(letters, options, strict=True)]
    return "\n".join([f"{text}?", *lines, "Answer:"])


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    sizes = {"shots": options.shots, "words": tuple(options.words), "option_words": tuple(options.option_words)}
    requests = draw(options.questions, seed=options.seed, **sizes)
    result: dict[str, Any] = {
        "questions": options.questions,
        **sizes,
        "tokens": options.tokens,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "rounds": options.rounds,
        "date": datetime.date.today().isoformat(),
        "machine": machine() | {"device": jax.devices()[0].device_kind},
        "versions": versions("flan-jax", "jax", "jaxlib", "torch", "transformers", "lm-eval"),
        "models": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folders = {} if options.decoder is None else {options.decoder.name: options.decoder}
        for name in options.t5:
            folders[name] = random_t5(name, Path(scratch) / name, options.seed)
        for name, folder in folders.items():
            result["models"][name] = measured(folder, requests, options)
    text = json.dumps(result, indent=1)
    if options.json is None:
        print(text)
        return
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(text + "\n", encoding="utf-8")
    log(f"written to {options.json}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python tools/bench/bench_eval.py --decoder weights/smollm2_135m_instruct --t5 t5_small",
    )
    parser.add_argument("--decoder", type=Path, help="a Hugging Face folder of a decoder")
    parser.add_argument(
        "--t5", nargs="*", default=[], choices=sorted(PRESETS), help="a T5 of these sizes, of random weights"
    )
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--shots", type=int, default=3, help="solved examples in front of each (default 3)")
    parser.add_argument("--words", type=int, nargs=2, default=[20, 50], help="least and most of a question")
    parser.add_argument("--option_words", type=int, nargs=2, default=[4, 10], help="least and most of an option")
    parser.add_argument("--tokens", type=int, default=32, help="that are written (default 32)")
    parser.add_argument("--batch_size", type=int, default=16, help="of both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the result; standard output otherwise")
    options = parser.parse_args(arguments)
    if options.decoder is None and not options.t5:
        parser.error("name a model: --decoder FOLDER, --t5 NAME, or both")
    return options


def random_t5(name: str, folder: Path, seed: int) -> Path:
    """A T5 as a Hugging Face folder, with a small tokenizer in the manner of T5's."""
    names = {
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    tokenizers.save(folder, tokenizers.t5(), {**names, "model_max_length": 4096})
    config = dataclasses.replace(PRESETS[name].model, eos_id=1)
    params = jax.tree.map(np.asarray, init_model(config, jax.random.key(seed))[1])
    writer.save(folder, config, params)
    return folder


def measured(folder: Path, requests: Requests, options: argparse.Namespace) -> dict[str, Any]:
    """Every workload by both systems."""
    models = {name: _model(name, folder, options.batch_size) for name in SYSTEMS}
    encoder_decoder = models["flan_jax"].backend == "seq2seq"
    # The harness lets an encoder–decoder of Hugging Face's write as many tokens more as its input has, unless it is told.
    limit = {"max_length": options.tokens + 1} if encoder_decoder else {"max_gen_toks": options.tokens}
    workloads: dict[str, tuple[str, list[Any]]] = {
        "options": ("loglikelihood", list(requests.options)),
        "letters": ("loglikelihood", list(requests.letters)),
        "generation": ("generate_until", [(prompt, {"until": ["\n\n\n"], "do_sample": False, **limit}) for prompt in requests.prompts]),
    }  # fmt: skip
    found = {}
    for workload, (kind, given) in workloads.items():
        answers: dict[str, list[Any]] = {}
        calls = {name: _call(model, name, kind, given, answers) for name, model in models.items()}
        log(f"{folder.name}, {workload}: compiling")
        for call in calls.values():
            call()
        seconds = in_turns(calls, options.rounds)
        rates = {name: summary([options.questions / taken for taken in seconds[name]]) for name in models}
        tokenizer = models["flan_jax"].loaded.tokenizer
        prompts = tokenizer.encode_all(list(dict.fromkeys(one[0] for one in given)))
        found[workload] = {
            "examples_per_s": rates,
            "faster_than": {"hf": rates["flan_jax"]["median"] / rates["hf"]["median"]},
            "prompt_tokens": float(np.mean([len(ids) for ids in prompts])),
            **_compared(answers["flan_jax"], answers["hf"]),
        }
        log(f"{folder.name}, {workload}: {found[workload]['faster_than']['hf']:.2f} times as fast")
    return found


def _model(name: str, folder: Path, batch_size: int) -> Any:
    from lm_eval.api.registry import get_model

    from flan_jax.cli.lm_eval import register

    register()
    if name == "hf":
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        given = {"pretrained": str(folder), "dtype": "float32", "device": "cpu"}
    else:
        given = {"path": str(folder)}
    return get_model(name)(**given, batch_size=batch_size)


def _call(model: Any, name: str, kind: str, given: list[Any], answers: dict[str, list[Any]]) -> Callable[[], None]:
    requests = [types.SimpleNamespace(args=one, task_name=None) for one in given]  # all that is read of an Instance

    def call() -> None:
        answers[name] = getattr(model, kind)(requests, disable_tqdm=True)

    return call


def _compared(ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    if isinstance(ours[0], str):
        return {"texts": len(ours), "texts_that_differ": sum(a != b for a, b in zip(ours, theirs, strict=True))}
    return {
        "requests": len(ours),
        "difference": max(abs(a[0] - b[0]) for a, b in zip(ours, theirs, strict=True)),
        "argmaxes_that_differ": sum(a[1] != b[1] for a, b in zip(ours, theirs, strict=True)),
    }


if __name__ == "__main__":
    main()
