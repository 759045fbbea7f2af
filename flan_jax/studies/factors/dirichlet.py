"""The factor of mixture weights: draws from a Dirichlet distribution around a prior, or a design chosen among them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Literal

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.studies.designs.d_optimal import d_optimal
from flan_jax.studies.designs.dirichlet import Simplex
from flan_jax.studies.factors.base import Factor, Level
from flan_jax.studies.space import Over, Space, given_shares
from flan_jax.tasks.hashing import counter_hash
from flan_jax.typed import Above0, AtLeast0, Positive, Share

Prior = Literal["mixture", "equal"]
Design = Literal["random", "d_optimal"]
Degree = Literal["linear", "quadratic"]
_DEGREES: Mapping[Degree, int] = {"linear": 1, "quadratic": 2}


@dataclasses.dataclass(frozen=True)
class Dirichlet(Factor):
    """Weights of tasks, clusters or sources, drawn as RegMix does (arXiv:2407.01492): see ``Simplex``.

    Attributes:
        over: what gets a weight each: ``tasks``, ``clusters`` or ``sources``.
        names: of those that are varied; none for all. What is not named is not trained on.
        prior: the ``mixture``'s own shares, ``equal`` ones, or a share for each.
        temperature: exponent of the prior; RegMix's is 0.5.
        min_strength: the least strength; with it nearly one unit alone is drawn.
        max_strength: the largest strength.
        strengths: how many strengths there are between them, evenly spaced in their logarithm.
        min_weight: what is less becomes 0.
        max_ratio: a weight is at most so many times the prior's; ``None`` for no such bound.
        lowest: unit → the least weight.
        highest: unit → the largest weight.
        tries: draws at most until one is inside the bounds.
        design: ``random`` draws, or the ``d_optimal`` ones among ``candidates`` of them, from which a law of ``degree``
            is fitted most sharply, some of them maybe several times. Such a design is of one number of draws and is not
            continued.
        degree: of that law.
        candidates: that a design is chosen from.
    """

    over: Over = "clusters"
    names: tuple[str, ...] = ()
    prior: Prior | Mapping[str, float] = "mixture"
    temperature: AtLeast0 = 0.5
    min_strength: Above0 = 0.1
    max_strength: Above0 = 5.0
    strengths: Positive = 15
    min_weight: Share = 2e-4
    max_ratio: Above0 | None = 15.0
    lowest: Mapping[str, float] = field(default_factory=dict)
    highest: Mapping[str, float] = field(default_factory=dict)
    tries: Positive = 10_000
    design: Design = "random"
    degree: Degree = "linear"
    candidates: Positive = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_strength > self.max_strength:
            raise UserError(
                f"Dirichlet.min_strength={self.min_strength:g} must be at most max_strength={self.max_strength:g}."
            )
        for name, bounds in (("lowest", self.lowest), ("highest", self.highest)):
            for unit, value in bounds.items():
                if not 0 <= value <= 1:
                    raise UserError(f"Dirichlet.{name} gives {unit!r} the bound {value:g}, which must be from 0 to 1.")

    @property
    def label(self) -> str:
        """``draw``: the place among the draws; the weights stand by themselves."""
        return "draw"

    @property
    def drawn(self) -> bool:
        """True."""
        return True

    def simplex(self, space: Space) -> Simplex:
        """Returns the weights that can be drawn.

        Raises:
            UserError: an unknown unit, or a prior that is none.
        """
        units = space.chosen(self.over, self.names, "Dirichlet.names")
        if len(units) < 2:
            raise UserError(f"Dirichlet varies the weights of {len(units)} of the {self.over}; it takes at least 2.")
        if self.prior == "equal":
            prior = dict.fromkeys(units, 1 / len(units))
        elif self.prior == "mixture":
            own = space.shares(self.over)
            prior = given_shares({unit: own[unit] for unit in units}, units, "The mixture")
        else:
            given: Mapping[str, float] = self.prior  # type: ignore[assignment]
            prior = given_shares(given, units, "Dirichlet.prior")
        for name, bounds in (("lowest", self.lowest), ("highest", self.highest)):
            for unit in bounds:
                if unit not in units:
                    raise unknown(f"name in Dirichlet.{name}", unit, units)
        ratio = {} if self.max_ratio is None else {unit: self.max_ratio * share for unit, share in prior.items()}
        highest = {unit: min(self.highest.get(unit, 1.0), ratio.get(unit, 1.0)) for unit in units}
        return Simplex(
            prior=prior,
            temperature=self.temperature,
            strength=(self.min_strength, self.max_strength),
            strengths=self.strengths,
            min_weight=self.min_weight,
            lowest=self.lowest,
            highest=highest,
            tries=self.tries,
        )

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """Draws ``count`` weights, each a function of the seed and its place; or chooses a design of so many."""
        simplex = self.simplex(space)
        if self.design == "d_optimal":
            drawn = self._designed(simplex, seed, count)
        else:
            drawn = _distinct(simplex, count, (seed, "dirichlet", self.over))
        units = space.units(self.over)
        kept = frozenset(task for unit in simplex.prior for task in units[unit]) if self.names else None
        return tuple(Level({self.label: place}, weights=weights, kept=kept) for place, weights in enumerate(drawn))

    def _designed(self, simplex: Simplex, seed: int, count: int) -> list[dict[str, float]]:
        if count > self.candidates:
            raise UserError(
                f"A design of {count:,} draws cannot be chosen from Dirichlet.candidates={self.candidates:,}. Raise that."
            )
        pool = _distinct(simplex, self.candidates, (seed, "candidate", self.over))
        table = np.array([[weights[unit] for unit in simplex.units] for weights in pool])
        stream = counter_hash(seed, "d_optimal", self.over) % 2**32
        return [pool[int(place)] for place in d_optimal(table, count, degree=_DEGREES[self.degree], seed=stream)]


def _distinct(simplex: Simplex, count: int, stream: tuple[object, ...]) -> list[dict[str, float]]:
    """Draws ``count`` weights, none of them twice: at small strengths many draws are the same corner.

    Raises:
        UserError: as ``Simplex.draw``; or there are fewer points than that.
    """
    found: dict[tuple[tuple[str, float], ...], dict[str, float]] = {}
    for place in range(count):
        for attempt in range(simplex.tries):
            weights = simplex.draw(*stream, place, attempt)
            if tuple(weights.items()) not in found:
                found[tuple(weights.items())] = weights
                break
        else:
            raise UserError(
                f"After {place:,} draws, {simplex.tries:,} more gave weights that were drawn already: the space has hardly more "
                f"points than that. Ask for {place:,} draws, widen the bounds, or raise Dirichlet.max_strength."
            )
    return list(found.values())
