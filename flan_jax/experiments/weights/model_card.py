"""The README.md of an exported model, written from what its run's folder says."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.eval.results import read_results, saved_steps
from flan_jax.experiments.run_folder import run_files
from flan_jax.models.build import ModelConfig, num_params
from flan_jax.models.huggingface.families import auto_class

_LONGEST_TABLE = 200
"""Tasks that are listed one by one; of more the clusters are."""


def model_card(run: Path, step: int, config: ModelConfig, name: str, asking: Iterable[str] | None) -> str:
    """Writes what the model is, what it was trained on, how it was measured, and how to load it, in Markdown.

    Args:
        run: a run's folder, or an imported one.
        step: of the checkpoint.
        config: of the model.
        name: its heading.
        asking: paragraphs that say how to ask it; ``None`` where no tokenizer is exported with it.
    """
    manifest = run_files.read_manifest(run)
    parts = [_front_matter(run, manifest), f"# {_plain(name)}", *_about(run, manifest, step, config)]
    if manifest is not None:
        parts += _training(manifest)
        parts += _results(run, step)
    parts += ["## How to ask it", *asking] if asking is not None else _loading(config)
    if manifest is not None:
        parts += ["## Versions", _table(("package", "version"), sorted(manifest["versions"].items()))]
    return "\n\n".join(parts) + "\n"


def _origin(run: Path, manifest: Mapping[str, Any] | None) -> str:
    """The model that the weights began as, where one is known; never a path of this machine."""
    record: Any = (manifest or {}).get("started_from") or {}
    if manifest is None and (run / run_files.ORIGIN).is_file():
        record = json.loads((run / run_files.ORIGIN).read_text(encoding="utf-8"))
    source = str(record.get("source") or record.get("folder") or "")
    is_path = source.startswith((".", "/", "~")) or Path(source).exists()
    return source if source.count("/") == 1 and not is_path else ""


def _front_matter(run: Path, manifest: Mapping[str, Any] | None) -> str:
    origin = _origin(run, manifest)
    lines = ["---", "library_name: transformers", "tags:", "- flan_jax"]
    lines += ["- instruction-tuning"] if manifest is not None else []
    lines += [f"base_model: {json.dumps(origin)}"] if origin else []
    return "\n".join([*lines, "---"])


def _about(run: Path, manifest: Mapping[str, Any] | None, step: int, config: ModelConfig) -> Iterator[str]:
    text = f"{config.kind[0].upper()}{config.kind[1:]} of {num_params(config):,} parameters"
    origin = _origin(run, manifest)
    if manifest is None:
        yield f"{text}, converted with flan_jax" + (f" from {_plain(origin)}." if origin else ".")
        return
    text += f", trained for {step:,} steps on the mixture `{_plain(manifest['mixture'])}` with flan_jax"
    yield text + (f", from the weights of {_plain(origin)}." if origin else ".")


def _training(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Training data"
    tasks: Mapping[str, Mapping[str, Any]] = manifest["tasks"]
    clusters: dict[str, list[float]] = {}
    for row in tasks.values():
        found = clusters.setdefault(str(row["cluster"]), [0.0, 0.0, 0.0])
        for place, value in enumerate((1, row["weight"], row["examples"])):
            found[place] += value
    if len(tasks) <= _LONGEST_TABLE:
        rows = [(n, t["cluster"], f"{t['weight']:.4%}", f"{t['examples']:,}") for n, t in tasks.items()]
        if len(tasks) == 1:
            yield "All examples are of one task:"
        else:
            yield f"Each example was drawn from one of {len(tasks)} tasks with these shares:"
        yield _table(("task", "cluster", "share", "examples"), rows)
    else:
        yield f"Each example was drawn from one of {len(tasks):,} tasks; the shares of their clusters:"
        summed = [(n, f"{int(c[0]):,}", f"{c[1]:.4%}", f"{int(c[2]):,}") for n, c in sorted(clusters.items())]
        yield _table(("cluster", "tasks", "share", "examples"), summed)
    held_out = manifest.get("held_out_clusters") or []
    if held_out:
        yield f"Held out, and not trained on: {', '.join(map(_plain, held_out))}."
    config = manifest["config"]
    lengths = config.get("lengths", {})
    yield (
        f"Batches of {config.get('batch_size')} rows of {lengths.get('inputs')} input and {lengths.get('targets')} target "
        f"tokens; optimiser {_plain(config.get('optimizer', {}).get('name'))} at a learning rate of "
        f"{config.get('optimizer', {}).get('learning_rate')}; seed {config.get('seed')}."
    )


def _results(run: Path, step: int) -> Iterator[str]:
    if step not in saved_steps(run):
        return
    results = read_results(run, step)
    yield "## Results"
    yield f"Measured at step {step:,}; scores run from 0 to 1, with 95% intervals over examples."
    for suite, rows in results.suites.items():
        average = results.averages.get(suite)
        yield f"### {_plain(suite)}" + (f": {average.value:.3f}" if average else "")
        yield _table(
            ("task", "cluster", "metric", "score", "interval", "chance", "majority", "examples"),
            [
                (
                    row.name, row.cluster, row.metric, f"{row.value:.3f}",
                    "" if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}",
                    f"{row.chance:.3f}", f"{row.majority:.3f}", f"{row.n:,}",
                )
                for row in rows
            ],
        )  # fmt: skip


def _loading(config: ModelConfig) -> Iterator[str]:
    kind = auto_class(config)
    yield "## How to load it"
    yield f'```python\nfrom transformers import {kind}\n\nmodel = {kind}.from_pretrained(".")\n```'
    yield "No tokenizer is kept with these weights: texts are encoded as in training, with `flan_jax.data.tokenizers`."


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_plain, row))} |" for row in rows)])


def _plain(value: Any) -> str:
    """A value that cannot break out of a line, a cell of a table, or into markup."""
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'").replace("[", "\\[")
