"""The tasks of the run in ``old_run/``, as they were when it was made. Changing them changes what it resumes on."""

import functools
from collections.abc import Mapping, Sequence

from flan_jax.data.sources.generated import generated
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.tasks.spec import Prompted, Record, TaskSpec, Template

_FIRST = {"train": 0, "validation": 100, "test": 200}


def _numbers(split: str, size: int) -> Sequence[Record]:
    return [{"number": _FIRST[split] + i} for i in range(size if split == "train" else 4)]


def _fields(record: Record) -> Mapping[str, object]:
    return {"number": str(record["number"]), "answer": "odd" if record["number"] % 2 else "even"}


def _task(name: str, cluster: str, template: str, size: int) -> Prompted:
    return Prompted(
        TaskSpec(
            name=name,
            cluster=cluster,
            source=generated(name, functools.partial(_numbers, size=size), version=1),
            fields=_fields,
            slots=("number", "answer"),
            options=("odd", "even"),
            templates=(Template(template),),
        )
    )


def _mixture() -> Mixture:
    plain, asked = _task("old_plain", "plain", "{number}?", 40), _task("old_asked", "asked", "Is {number} odd?", 24)
    unseen = _task("old_unseen", "unseen", "Of {number}:", 8)
    return Mixture(
        "old_run_mixture",
        (Entry(plain), Entry(asked, rate=10.0)),
        suites=(Suite("held_out", (unseen,), held_out=True),),
        vocabulary="bytes",
    )


register_mixture("old_run_mixture", _mixture)
