"""The slots that FLAN's published templates are filled with, made of a record as FLAN's own code makes them.

They are for imported templates alone (``PublishedFields``). What that code does by mistake is done
here too, since its strings are what an imported set must give. Columns may have the names of TFDS's
copy, which FLAN reads, or of the other copies that the tasks know.
"""

import dataclasses

from flan_jax.tasks.catalog import register
from flan_jax.tasks.published_fields import PublishedFields
from flan_jax.tasks.spec import TaskSpec
from mixtures.flan_fields.classification import CLASSIFICATION
from mixtures.flan_fields.questions import QUESTIONS
from mixtures.flan_fields.texts import TEXTS

PUBLISHED: dict[str, tuple[PublishedFields, ...]] = {**CLASSIFICATION, **QUESTIONS, **TEXTS}
"""Task → its slots in FLAN 2021's code and in FLAN 2022's."""


def register_flan(spec: TaskSpec) -> TaskSpec:
    """Adds a task of FLAN 2021 to the catalogue, with what FLAN's own templates are filled with beside its fields.

    Raises:
        KeyError: FLAN has no such task.
        UserError: as ``register``.
    """
    return register(dataclasses.replace(spec, published=PUBLISHED[spec.name]))
