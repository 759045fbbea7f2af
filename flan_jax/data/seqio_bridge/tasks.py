"""Tasks of seqio's registry as ``Task``s (``SeqioTask``). Naming one loads neither seqio nor TensorFlow.

A module registers its tasks as seqio's users always do, is imported (``--module_import`` on the
command line), and ``SeqioTask("their_task")`` may then stand in any mixture, beside our own::

    Mixture("both", (Entry(Prompted(RTE)), Entry(SeqioTask("their_task", cluster="theirs"))))
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.prepare.preprocessors import TaskPreprocessor
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.store.store import StoredTask
from flan_jax.tasks.task import BaseTask
from flan_jax.tasks.user_modules import import_modules, imported_modules

if TYPE_CHECKING:
    from flan_jax.data.seqio_bridge.metrics import SeqioTaskMetrics


@dataclasses.dataclass(frozen=True)
class SeqioTask(BaseTask):
    """A task of seqio's registry. Building one looks nothing up.

    A pickled one names the modules that were imported for this process, and they are imported
    where it is unpickled, so that seqio knows the task there too.

    Attributes:
        name: its name there.
        cluster: what it is held out with.
    """

    name: str
    cluster: str = "seqio"
    tokenized_elsewhere: ClassVar[bool] = True

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of its source.

        Raises:
            UserError: seqio knows no such task, or its data are not here.
        """
        from flan_jax.data.seqio_bridge.registry import find_task, splits_of

        return splits_of(find_task(self.name))

    def __reduce__(self) -> Any:
        return _restore, (self.name, self.cluster, imported_modules())

    def count(self, split: str) -> int:
        """Returns the number of records in a split, from the source or, where it does not know, counted.

        Raises:
            UserError: no such task or split, or a source that cannot be read.
        """
        from flan_jax.data.seqio_bridge.registry import count_records

        return count_records(self.name, split)

    def own_vocabulary(self) -> Vocabulary:
        """Returns the vocabulary that the task's output features name.

        Raises:
            UserError: no such task, or inputs and targets have different ones.
        """
        from flan_jax.data.seqio_bridge.registry import find_task
        from flan_jax.data.seqio_bridge.vocabulary import task_vocabulary

        return task_vocabulary(find_task(self.name))

    def own_metrics(self, stored: StoredTask, rows: Sequence[int]) -> "SeqioTaskMetrics":
        """Returns the task's own postprocessing and metric functions; see ``task_metrics_of``."""
        return task_metrics_of(self, [stored_example(stored, row) for row in rows])

    def preprocessor(self, config: PrepareConfig) -> TaskPreprocessor:
        """Returns seqio's own pipeline, whose tokens are stored as they are.

        Raises:
            UserError: seqio knows no such task, or its vocabulary is not that of ``config``.
        """
        from flan_jax.data.seqio_bridge.preprocessor import SeqioPreprocessor

        return SeqioPreprocessor(self, config)


def _restore(name: str, cluster: str, modules: tuple[str, ...]) -> SeqioTask:
    import_modules(modules)
    return SeqioTask(name, cluster)


def task_metrics_of(task: SeqioTask, examples: Sequence[dict[str, Any]]) -> "SeqioTaskMetrics":
    """Binds the task's own postprocessing and metric functions to these examples.

    Args:
        task: has metric functions.
        examples: features as ``seqio.Task.get_dataset`` yields them, NumPy arrays and scalars.

    Raises:
        UserError: no such task, no metric function that can be used here, or a postprocessor that
            fails on a target.
    """
    from flan_jax.data.seqio_bridge.metrics import SeqioTaskMetrics
    from flan_jax.data.seqio_bridge.registry import find_task

    return SeqioTaskMetrics(find_task(task.name), examples)


def stored_example(stored: StoredTask, index: int) -> dict[str, Any]:
    """Reads a prepared example with the features that ``seqio.Task.get_dataset`` gave it, as NumPy values.

    Ragged features are lists of arrays; ``task_metrics_of`` makes ``tf.RaggedTensor``s of them, as seqio's evaluator does.
    """
    ragged = stored.manifest["ragged_features"]
    example: dict[str, Any] = {
        name: stored_side.astype(np.int32)
        for name, stored_side in (("inputs", stored.inputs(index)), ("targets", stored.targets(index)))
        if name in stored.manifest["token_features"]
    }
    for name, value in stored.extras(index).items():
        if isinstance(value, list):
            example[name] = value if name in ragged or not value else np.stack(value)
        else:
            example[name] = value[()] if value.ndim == 0 else value
    return example


def registered_names() -> tuple[str, ...]:
    """Returns the names of seqio's mixtures and tasks; none where nobody has imported it."""
    if "seqio" not in sys.modules:
        return ()
    from flan_jax.data.seqio_bridge.registry import names

    return names()
