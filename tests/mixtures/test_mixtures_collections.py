"""Every task of the collections: its templates read by a machine, and rendered on two records of its schema.

The records are made up, with the columns that the data set is published with. The renders stand
in tests/golden/renders, to be read by a person.
"""

import itertools
import json
import os
from pathlib import Path

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.template_lint import review

RECORDS = Path(__file__).parent / "records"
GOLDEN = Path(__file__).parents[1] / "golden" / "renders"
EXAMPLES = {
    task: records for file in sorted(RECORDS.glob("*/*.json")) for task, records in json.loads(file.read_text()).items()
}
COLLECTIONS = ("flan2021", "cot", "dialog", "open", "program_synthesis")
SPECS = [spec for spec in map(TASKS.get, TASKS) if spec.collection in COLLECTIONS]


def rendered(spec) -> str:
    """Every template on every record, and the two forms without the options and without any words."""
    lines = [f"# {spec.name} · {spec.cluster} · {spec.metric}"]
    modes = [PromptMode.ZS_OPT, *([PromptMode.ZS_NOOPT] if spec.options else [])]
    modes += [PromptMode.COT_ZS_OPT] if spec.cot_templates else []
    for mode in modes:
        task = Prompted(spec, mode)
        for (template_id, template), (index, record) in itertools.product(
            enumerate(task.templates), enumerate(EXAMPLES[spec.name])
        ):
            example = Renderer(task)(record, index=index, template_id=template_id)
            assert example is not None, f"{spec.name} leaves its record {index} out"
            inverted = " · inverted" if template.inverted else ""
            lines.append(f"\n## {mode} · template {template_id} · record {index}{inverted}\n")
            lines += [example.inputs, "=>", example.targets]
            if mode is PromptMode.ZS_OPT and not template.inverted and len(example.references) > 1:
                lines.append(f"accepted: {' | '.join(example.references)}")
    for mode in (PromptMode.NO_TEMPLATE, PromptMode.DATASET_NAME):
        example = Renderer(Prompted(spec, mode))(EXAMPLES[spec.name][0], index=0)
        lines += [f"\n## {mode} · record 0\n", example.inputs, "=>", example.targets]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_template_renders_as_it_is_kept(spec):
    path = GOLDEN / spec.collection / f"{spec.name}.txt"
    text = rendered(spec)
    if os.environ.get("FLAN_JAX_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_nothing_is_wrong_with_the_templates(spec):
    assert review(spec) == []
    assert len(spec.templates) == 10
    assert not spec.cot_templates or len(spec.cot_templates) == 10
    assert len(EXAMPLES[spec.name]) == 2
