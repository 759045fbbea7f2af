"""Run folders for the tests of reports: real results of a scripted predictor, awkward text included."""

import json

import numpy as np

from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.results import write_results
from flan_jax.eval.suites import evaluate_suites

EVIL = "<script>alert('x')</script>"

MODEL_INFO = """embedding              (10, 4)     float32   40
encoder/layers/mlp/wi  (1, 4, 5)   float32   20
decoder/layers/mlp/wi  (1, 4, 25)  float32  100
decoder/norm/scale     (4,)        float32    4

Parameters in total: 164
"""


class Scripted:
    """Right in the first ``right`` examples of each task."""

    def __init__(self, right):
        self.right = right

    def rank_notes(self, examples):
        return []

    def rank(self, examples, advance):
        return [
            np.array([float((option in e.references) == (e.example_id < self.right)) for option in e.options])
            for e in examples
        ]

    def generate(self, examples, advance):
        return [e.references[0] if e.example_id < self.right else f"no {EVIL}" for e in examples]


def eval_task(name, cluster, *, predict="rank", count=8, asked=None):
    options = ("yes", f"no {EVIL}") if predict == "rank" else ()
    examples = [
        EvalExample(
            np.array([4, 1]),
            options,
            (f"no {EVIL}" if i % 4 == 0 and options else "yes",),
            i,
            i % 2,
            f"say {EVIL} & {i}",
        )
        for i in range(count)
    ]
    return EvalTask(name, cluster, "accuracy" if options else "exact_match", predict, examples, asked=asked or {})


def suites(evil="", asked=None):
    """``asked``: task → how it is asked."""
    asked = asked or {}
    topic = eval_task(f"topic{evil}", f"topics{evil}", asked=asked.get("topic"))
    write = eval_task("write", "writing", predict="generate", asked=asked.get("write"))
    rte = eval_task("rte", "entailment", count=6, asked=asked.get("rte"))
    return {"held_in": [topic, write], "held_out": [rte]}


def make_run(folder, *, scores=((0, 2), (100, 6)), steps=20, evil="", settings=None, asked=None):
    """A complete run's folder. ``scores`` are (step, right answers a task)."""
    folder.mkdir(parents=True, exist_ok=True)
    for step, right in scores:
        write_results(folder, evaluate_suites(Scripted(right), suites(asked=asked), step=step, settings=settings))
    (folder / "config.gin").write_text(f"MODEL_DIR = 'x'  # {EVIL}\n")
    tasks = {
        f"topic{evil}": {"cluster": f"topics{evil}", "weight": 3.0, "examples": 1200},
        "write": {"cluster": "writing", "weight": 1.0, "examples": 50},
    }
    manifest = {
        "mixture": f"mini{evil}",
        "tasks": tasks,
        "suites": {"held_out": {"held_out": True}},
        "held_out_clusters": ["entailment"],
        "vocabulary": {"name": "bytes"},
        "versions": {"jax": "0.10.2"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "model-info.txt").write_text(MODEL_INFO)
    lines = [
        {
            "step": 10 * (index + 1),
            "loss": 4.0 / (index + 1),
            "weight": 100.0,
            "tokens": 500.0,
            "seconds": 0.5,
            "task_loss": {f"topic{evil}": 3.0 - index / 10, "write": 2.0},
            "task_share": {f"topic{evil}": 0.6, "write": 0.4},
        }
        for index in range(steps)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
