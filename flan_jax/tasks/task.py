"""The protocol of tasks: what mixtures, stores and results ask of one, whatever its kind."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.source import Source
from flan_jax.tasks.spec import Prompted, RecordText, TaskSpec


@runtime_checkable
class Task(Protocol):
    """Protocol of a task, as mixtures, stores and results use it.

    ``Prompted`` is ours; other kinds, such as whole conversations and the tasks of seqio's registry, subclass
    ``BaseTask``, and are prepared by a method ``preprocessor`` of their own
    (``flan_jax.data.prepare.preprocessors.PreparedTask``).
    """

    @property
    def name(self) -> str:
        """Unique among the tasks of a run."""

    @property
    def cluster(self) -> str:
        """The cluster that it is held out with."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that can be prepared."""

    @property
    def spec(self) -> TaskSpec | None:
        """The declaration that it prompts for; ``None`` where it has no templates of ours."""

    @property
    def spec_name(self) -> str:
        """The name of all prompts over the same records: the spec's, or its own."""

    @property
    def source(self) -> Source | None:
        """The source of its records; ``None`` where only it knows."""

    @property
    def origins(self) -> frozenset[str]:
        """The data sets that its records are made from, as ``Source.origins``."""

    @property
    def mode(self) -> PromptMode | None:
        """The mode of its prompt; ``None`` where it has no templates of ours."""

    @property
    def collection(self) -> str:
        """The published collection that it belongs to, or ``""``."""

    @property
    def extras(self) -> Mapping[str, RecordText]:
        """Texts of each record that are kept beside its tokens: name → function."""

    @property
    def drawn_templates(self) -> tuple[int, ...]:
        """Indices of the templates that examples are drawn from."""

    @property
    def tokenized_elsewhere(self) -> bool:
        """True where its ids come from a pipeline of its own, so that a run's chat template is not around them."""

    def own_vocabulary(self) -> Any:
        """The vocabulary of that pipeline; ``None`` where a run chooses it."""

    def own_metrics(self, stored: Any, rows: Sequence[int]) -> Any:
        """Metric functions of its own over these rows of its stored split; ``None`` where it brings none."""

    def count(self, split: str) -> int | None:
        """The number of its records in ``split``, read for that if need be; ``None`` where only preparing it tells.

        Raises:
            UserError: its data are not here.
        """


class BaseTask:
    """Defaults of ``Task`` for a task without templates of ours: a subclass adds a name, a cluster and splits."""

    spec: TaskSpec | None = None
    source: Source | None = None
    mode: PromptMode | None = None
    collection: str = ""
    drawn_templates: tuple[int, ...] = ()
    tokenized_elsewhere: ClassVar[bool] = False

    @property
    def spec_name(self: Task) -> str:
        """Its own name."""
        return self.name

    @property
    def origins(self: Task) -> frozenset[str]:
        """Those of its source."""
        return frozenset() if self.source is None else self.source.origins()

    @property
    def extras(self) -> Mapping[str, RecordText]:
        """None."""
        return {}

    def own_vocabulary(self) -> Any:
        """None: a run chooses it."""
        return None

    def own_metrics(self, stored: Any, rows: Sequence[int]) -> Any:
        """None."""
        return None

    def count(self, split: str) -> int | None:
        """Unknown before it is prepared."""
        return None


def as_prompted(task: Task) -> Prompted | None:
    """Returns a task that can be given other templates, modes and styles; ``None`` for one of another kind."""
    return task if isinstance(task, Prompted) else None


def prompted(tasks: Iterable[Task]) -> list[Prompted]:
    """Returns those of ``tasks`` that ``as_prompted`` returns, in order."""
    return [own for task in tasks if (own := as_prompted(task)) is not None]
