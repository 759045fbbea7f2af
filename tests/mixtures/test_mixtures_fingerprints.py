"""What prepared stores depend on stays as it was: renaming or moving code of ours must not prepare anybody's data anew."""

import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

import pytest

import mixtures
from flan_jax.data.chat.replies import DialogFields
from flan_jax.data.collections.superni_encoding import ENCODINGS
from flan_jax.data.collections.t0_datasets import as_on_hub
from flan_jax.data.formats import FORMATS
from flan_jax.data.instructions.task import instruction_fields, rendered_fields
from flan_jax.data.prepare.fingerprints import callable_digest
from flan_jax.data.sources.generated import GeneratedSource
from flan_jax.data.sources.hub import HubSource
from flan_jax.data.sources.published import PublishedSource
from flan_jax.data.templates.promptsource import whole_record
from flan_jax.tasks.catalog import TASKS

GOLDEN = Path(__file__).parents[1] / "golden" / "fingerprints.json"
MADE_BY = (3, 11)
"""The digest of a class covers byte code that Python itself wrote, so it is another one in each version."""


def source_fingerprint(source):
    """``None`` for one that reads files, which are not here."""
    pinned = isinstance(source, PublishedSource | HubSource | GeneratedSource)
    return source.fingerprint(source.splits[0])[:16] if pinned else None


@pytest.mark.skipif(sys.version_info[:2] != MADE_BY, reason="digests of another version of Python")
def test_a_new_name_changes_no_fingerprint():
    """A changed function text, its docstring too, is a change of a task: then the golden file is written anew."""
    for module in pkgutil.walk_packages(mixtures.__path__, "mixtures."):
        importlib.import_module(module.name)
    functions = {"instruction": instruction_fields, "rendered": rendered_fields, "dialog": DialogFields()}
    functions |= {f"format {known.name}": known.read for known in FORMATS}
    functions |= {f"format {known.name} gathered": known.gather for known in FORMATS if known.gather}
    functions |= {f"superni {name}": encoding for name, encoding in ENCODINGS.items()}
    functions |= {"promptsource": whole_record, "t0": as_on_hub}
    sources = {}
    for spec in map(TASKS.get, TASKS):
        functions[f"task {spec.name}"] = spec.fields
        functions |= {f"task {spec.name} {name}": function for name, function in spec.extras.items()}
        functions |= {f"task {spec.name} {published.name}": published.fields for published in spec.published}
        sources[spec.name] = source_fingerprint(spec.source)
    found = {
        "functions": {name: callable_digest(function)[:16] for name, function in functions.items()},
        "sources": {name: digest for name, digest in sources.items() if digest},
    }
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))
