"""How fast `prepare` is beside the bare tokenizer, on the same rendered text, in one run.

    FLAN_JAX_REALDATA=FOLDER python tools/bench/bench_prepare.py --json docs/benchmarks/prepare.json --examples 10000

Both encode with the same SentencePiece model on one thread of one process. The tokenizer is given
the rendered strings and does nothing else; `prepare` reads the task files, renders, encodes, trims,
and writes the store with its checksums. Two shapes of the same text: the tasks as they are, many and
small, where making folders and files weighs most; and one task over one JSON lines file, where
nothing but the examples counts. The text is Super-NaturalInstructions where FLAN_JAX_REALDATA names a
folder that has it, and the mixture `mini`, with a model trained on it, otherwise.

Wall-clock seconds are those of a watch; CPU seconds are those of this process alone and say more
where others use the machine; of these, user seconds leave out what the file system takes.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import sentencepiece

import mixtures  # noqa: F401  (registers what ships)
from flan_jax.data.collections.superni import superni_mixture
from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.prepare.prepare import prepare
from flan_jax.data.sources import base as sources
from flan_jax.data.sources.json_files import jsonl
from flan_jax.data.tokenizers.encoding import set_encoding_threads
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.mixing.mixture import Mixture, get_mixture
from flan_jax.store.store import TokenStore
from flan_jax.tasks.render import render_split
from flan_jax.tasks.spec import Prompted, TaskSpec, Template
from flan_jax.tasks.task import Task

REPEATS = 3
BATCH = 256
Wanted = list[tuple[Task, tuple[str, ...]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True, help="file that the result is written to")
    parser.add_argument("--examples", type=int, default=10_000, help="about so many examples, as whole splits")
    parser.add_argument("--instances", type=int, default=100, help="of one Super-NaturalInstructions task at most")
    arguments = parser.parse_args()
    realdata = os.environ.get("FLAN_JAX_REALDATA", "")
    with tempfile.TemporaryDirectory() as folder:
        if realdata:
            sources.set_data_dir(realdata)
            mixture = superni_mixture(max_train_instances=arguments.instances, max_test_instances=arguments.instances)
            model = Path(realdata) / "tokenizers/hf_fixtures/spiece.model"
        else:
            mixture = get_mixture("mini")
            model = trained_model(mixture, Path(folder))
        tasks, texts = chosen(mixture, arguments.examples)
        result = {
            "text": "Super-NaturalInstructions" if realdata else "mini",
            "model": model.name,
            "many_tasks": measure(tasks, texts, model, Path(folder) / "many"),
            "one_file": measure(one_file(texts, Path(folder)), texts, model, Path(folder) / "one"),
            "machine": {"cores": os.cpu_count(), "processor": processor_name(), "system": platform.platform()},
            "versions": {
                "python": platform.python_version(),
                "sentencepiece": sentencepiece.__version__,
                "numpy": np.__version__,
                "pyarrow": pyarrow.__version__,
            },
        }
    Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shown = ("examples", "splits", "tokens", "medians", "prepare_to_tokenizer", "load_average")
    print(
        json.dumps(
            {shape: {name: result[shape][name] for name in shown} for shape in ("many_tasks", "one_file")}, indent=1
        )
    )


def measure(tasks: Wanted, texts: list[str], model: Path, folder: Path) -> dict[str, Any]:
    vocabulary = SentencePieceVocabulary(model)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    set_encoding_threads(1)
    before = os.getloadavg()[0]
    stores = iter(range(100))

    def tokenizer() -> int:
        ids = (processor.encode(texts[i : i + BATCH], out_type=int, num_threads=1) for i in range(0, len(texts), BATCH))
        return sum(len(one) for batch in ids for one in batch)

    def ours() -> int:
        return prepare(tasks, PrepareConfig(vocabulary), store=TokenStore(folder / f"store{next(stores)}")).examples

    runs: dict[str, list[dict[str, float]]] = {"tokenizer": [], "prepare": []}
    tokens, examples = tokenizer(), ours()  # both once, unmeasured: what is loaded on first use belongs to neither
    for _ in range(REPEATS):
        runs["tokenizer"].append(timed(tokenizer))
        runs["prepare"].append(timed(ours))
    medians = {
        name: {clock: round(statistics.median(run[clock] for run in own), 4) for clock in own[0]}
        for name, own in runs.items()
    }
    return {
        "examples": examples,
        "splits": sum(len(splits) for _, splits in tasks),
        "characters": sum(map(len, texts)),
        "tokens": tokens,
        "runs": runs,
        "medians": medians,
        "tokens_per_cpu_s": {name: round(tokens / own["cpu_s"]) for name, own in medians.items()},
        "prepare_to_tokenizer": {
            clock: round(medians["tokenizer"][clock] / medians["prepare"][clock], 3) for clock in medians["prepare"]
        },
        "load_average": {"before": before, "after": os.getloadavg()[0]},
    }


def one_file(texts: list[str], folder: Path) -> Wanted:
    """A task whose records are the rendered text."""
    path = folder / "records.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for inputs, targets in zip(texts[::2], texts[1::2], strict=True):
            file.write(json.dumps({"question": inputs, "answer": targets}) + "\n")
    spec = TaskSpec(
        name="one_file",
        cluster="bench",
        source=jsonl(train=path),
        fields=dict,
        slots=("question", "answer"),
        templates=(Template("{question}"),),
        metric="rougeL",
        predict="generate",
    )
    return [(Prompted(spec), ("train",))]


def chosen(mixture: Mixture, limit: int) -> tuple[Wanted, list[str]]:
    """Splits until there are ``limit`` examples, and both sides of all of them as text."""
    tasks: Wanted = []
    texts: list[str] = []
    trained = ((task, "train") for task in mixture.train_tasks)
    measured = ((task, suite.split) for suite in mixture.suites for task in suite.tasks)
    for task, split in dict.fromkeys((*trained, *measured)):
        if len(texts) >= 2 * limit:
            break
        rendered = render_split(task, split)  # type: ignore[arg-type]
        texts += [side for example in rendered for side in (example.inputs, example.targets)]
        tasks.append((task, (split,)))
    return tasks, texts


def timed(action: Callable[[], int]) -> dict[str, float]:
    begun, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    action()
    ended, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
    user = ended.ru_utime - begun.ru_utime
    return {"wall_s": wall, "cpu_s": user + ended.ru_stime - begun.ru_stime, "user_s": user}


def trained_model(mixture: Mixture, folder: Path) -> Path:
    _, texts = chosen(mixture, 20_000)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(folder / "mini"), vocab_size=2000, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    return folder / "mini.model"


def processor_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    sys.exit(main())
