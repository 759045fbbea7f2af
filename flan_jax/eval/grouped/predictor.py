"""Batched inference of many models of one shape on the same examples (``GroupedPredictor``)."""

import dataclasses
import functools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.grouped import programs
from flan_jax.eval.language_model import AnsweredBatch, Request
from flan_jax.eval.predictor import Predictor
from flan_jax.models.build import merge
from flan_jax.models.peft.adapters import join
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.protocol import Model, PromptContext
from flan_jax.models.runs_axis import runs_mesh


@dataclasses.dataclass(frozen=True, eq=False)
class GroupedPredictor(Predictor):
    """A ``Predictor`` of R models: every prompt is laid out once, and read by all of them in one call.

    ``params`` are what is trained, with a leading axis of R, which the devices of ``mesh`` split; ``rows_sharding`` has no
    say. The answer to an example is the list of R answers that the models give alone.

    Attributes:
        frozen: the rest of the model, which all share; ``{}`` where there is none.
        tuning: which part is trained.
        mesh: of ``runs_axis.runs_mesh``.
    """

    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tuning: TuningConfig = dataclasses.field(default_factory=TuningConfig)
    mesh: jax.sharding.Mesh = dataclasses.field(default_factory=runs_mesh)

    @classmethod
    def of(
        cls,
        one: Predictor,
        params: Mapping[str, Any],
        frozen: Mapping[str, Any],
        tuning: TuningConfig,
        mesh: jax.sharding.Mesh,
    ) -> "GroupedPredictor":
        """Returns the predictor of models that are asked as ``one`` is.

        ``batch_size`` prompts of all models on a device together are computed at a time, and at least eight of each.
        """
        fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(Predictor)}  # fmt: skip
        on_device = len(jax.tree.leaves(params)[0]) // mesh.size
        rows = min(one.batch_size, max(_LEAST_ROWS, one.batch_size // on_device))
        fields |= {"params": params, "batch_size": rows, "rows_sharding": None}
        return cls(**fields, frozen=frozen, tuning=tuning, mesh=mesh)

    @property
    def count(self) -> int:
        """R."""
        return len(jax.tree.leaves(self.params)[0])

    def answer_batches(
        self, request: Request, examples: Sequence[EvalExample], skip: Container[int] = ()
    ) -> Iterator[AnsweredBatch]:
        """Answers examples batch by batch; the answer to each is a list of R."""
        for members, answers in super().answer_batches(request, examples, skip):
            if request == "rank":  # [options, R]
                answers = [list(np.moveaxis(answer, -1, 0)) for answer in answers]
            yield AnsweredBatch(members, answers)

    def _no_answer(self, request: Request | Literal["targets"], count: int) -> Any:
        alone = super()._no_answer(request, count)
        return np.stack([alone] * self.count, axis=-1) if request == "rank" else [alone] * self.count

    @functools.cached_property
    def _model(self) -> Model:
        first = jax.tree.map(lambda leaf: leaf[0], dict(self.params))
        return merge(self.graphdef, join(first, self.frozen, self.tuning))

    @property
    def _shared(self) -> dict[str, Any]:
        return {"graphdef": self.graphdef, "tuning": self.tuning, "mesh": self.mesh}

    def _written(self, prompts: Sequence[Any], options: Mapping[str, Any]) -> jax.Array:
        return programs.generate(self.params, self.frozen, prompts, **{**options, **self._shared})

    def _cut(self, ids: np.ndarray, places: Sequence[int]) -> list[Any]:
        return list(map(list, zip(*(super(GroupedPredictor, self)._cut(own, places) for own in ids), strict=True)))

    def _prefilled(self, prompts: Sequence[jax.Array], longest: int) -> PromptContext:
        return programs.prefill(self.params, self.frozen, prompts, longest=longest, **self._shared)

    def _scored(self, score: Callable[..., jax.Array], context: PromptContext, pairs: Sequence[jax.Array]) -> jax.Array:
        return programs.scores(self.params, self.frozen, context, pairs, score=score, **self._shared)

    def _rows_first(self, scores: np.ndarray) -> np.ndarray:
        return np.moveaxis(scores, 0, 1)


_LEAST_ROWS = 8
