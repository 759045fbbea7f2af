"""The declaration of a study (``StudyConfig``): everything that its file says beside the base run."""

import dataclasses
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.config import plain
from flan_jax.studies.factors.base import Factor
from flan_jax.typed import AtLeast0, Natural, Seed, check_fields


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """A study: a base run is run again and again with other levels of its factors.

    Factors with levels are crossed with one another: there is a run for every combination. Factors with draws are drawn
    together ``draws`` times, and every draw is crossed with these combinations.

    Attributes:
        name: of the study.
        factors: what is varied.
        draws: points that factors with draws are drawn at; 0 where there are none.
        seed: decides everything that is drawn. Not the seed of the runs: that is the base run's, unless it is varied.
        replicated: points that are run again with other seeds, whose spread is the noise that no fit can explain. Of draws
            these are the first ones, of other points some that the seed decides.
        replicates: how often each of them is run again.
        same_templates: give all runs the templates that the base run draws, whatever their seeds, so that they read the same
            prepared tasks.
        objective: what is to be improved: ``SUITE/METRIC``.
        tokens_per_second: training speed that costs are estimated with; 0 where it is not known.
    """

    name: str
    factors: tuple[Factor, ...]
    draws: Natural = 0
    seed: Seed = 0
    replicated: Natural = 0
    replicates: Natural = 0
    same_templates: bool = True
    objective: str = "held_out/choice_probability"
    tokens_per_second: AtLeast0 = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "study")
        if not self.name.strip():
            raise UserError("study.name is empty. Give the study a name.")
        if not self.factors:
            raise UserError(
                "study.factors is empty, so nothing is varied. Give at least one factor, such as (@Dirichlet(),)."
            )
        labels = [label for factor in self.factors for label in factor.labels]
        twice = next((label for place, label in enumerate(labels) if label in labels[:place]), None)
        if twice is not None:
            raise UserError(
                f"study.factors has two factors that are called {twice!r}. Leave one out, or give a Values another name "
                "(Values.name)."
            )
        drawn = [factor.label for factor in self.factors if factor.drawn]
        if drawn and not self.draws:
            raise UserError(f"study.draws is 0, but the factor {drawn[0]!r} is drawn. Say how many draws there are.")
        if self.draws and not drawn:
            raise UserError(
                f"study.draws is {self.draws}, but no factor is drawn. Leave draws out, or add a factor such as @Dirichlet()."
            )
        if bool(self.replicated) != bool(self.replicates):
            raise UserError(
                f"study.replicated is {self.replicated} and study.replicates is {self.replicates}: so many points are run "
                "again, so often each. Give both, or neither."
            )
        suite, slash, metric = self.objective.partition("/")
        if not slash or not suite or not metric:
            raise UserError(
                f"study.objective is {self.objective!r}; it must be SUITE/METRIC, such as 'held_out/choice_probability'."
            )

    def description(self) -> dict[str, Any]:
        """Returns the study as JSON would hold it, each factor with its class; what only costs are told by is left out."""
        values = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        del values["tokens_per_second"]
        return {**plain(values), "factors": [described(factor) for factor in self.factors]}


def described(value: Any) -> Any:
    """Returns a factor as JSON would hold it, with its class by name, those inside it too."""
    if isinstance(value, Factor):
        own = {option.name: described(getattr(value, option.name)) for option in dataclasses.fields(value)}
        return {"factor": type(value).__name__, **own}
    if isinstance(value, dict):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [described(item) for item in value]
    return plain(value)
