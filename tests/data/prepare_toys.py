"""Tasks over JSON lines for the tests of preparing, and how stores are compared."""

import json
from pathlib import Path

from flan_jax.data.sources.json_files import jsonl
from flan_jax.tasks.spec import Prompted, TaskSpec, Template


def yes_or_no(name, path, **changes):
    """A task over ``path``, whose ``fields`` is a lambda, which pickle alone cannot send anywhere."""
    arguments = {
        "name": name,
        "cluster": "toy",
        "source": jsonl(train=path),
        "fields": lambda record: {"question": record["question"], "answer": record["answer"]},
        "slots": ("question", "answer"),
        "options": ("yes", "no"),
        "templates": (Template("Is it so? {question}"), Template("{question}\n\nYes or no?")),
    }
    return Prompted(TaskSpec(**{**arguments, **changes}))


def records(count, word="word"):
    return [{"question": f"{word} {i}", "answer": ("yes", "no")[i % 2]} for i in range(count)]


def write_lines(path, lines):
    """``lines`` as objects, or as bytes already."""
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path


def contents(store):
    """Every file of a store's folder by its path in it; half-written ones too."""
    root = Path(store.path)
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
