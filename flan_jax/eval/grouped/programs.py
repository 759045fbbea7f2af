"""Compiled programs that ask many models at once: scoring and generation, mapped over a leading ``runs`` axis.

Shapes: R models, B prompts, S their length, P (prompt, target) pairs, T length of targets.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from flan_jax.eval import scoring
from flan_jax.eval.decoding import generation
from flan_jax.models.peft.adapters import join
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.protocol import PromptContext
from flan_jax.models.runs_axis import over_runs


@functools.partial(jax.jit, static_argnames=("graphdef", "tuning", "mesh", "longest"))
def prefill(
    params: Mapping[str, Any],
    frozen: Mapping[str, Any],
    prompts: Sequence[Array],
    *,
    graphdef: nnx.GraphDef,
    tuning: TuningConfig,
    mesh: Mesh,
    longest: int,
) -> PromptContext:
    """Prefills the same prompts in every model; ``scoring.prefill`` with a leading axis of R.

    Args:
        params: of each model what is trained, ``[R, ...]``.
        frozen: the rest, which all models share; ``{}`` where there is none.
        prompts: tokens ``[B, S]`` and lengths ``[B]``.
        graphdef: of the model.
        tuning: which part is trained.
        mesh: of ``runs_axis.runs_mesh``.
        longest: the most tokens that follow.
    """

    def one(own: Any, shared: Any) -> PromptContext:
        rest, asked = shared
        return scoring.prefill(join(own, rest, tuning), *asked, graphdef=graphdef, longest=longest)

    return over_runs(one, mesh)(params, (frozen, prompts))


@functools.partial(jax.jit, static_argnames=("score", "graphdef", "tuning", "mesh"))
def scores(
    params: Mapping[str, Any],
    frozen: Mapping[str, Any],
    context: PromptContext,
    pairs: Sequence[Array],
    *,
    score: Callable[..., Array],
    graphdef: nnx.GraphDef,
    tuning: TuningConfig,
    mesh: Mesh,
) -> Float[Array, "R P *values"]:
    """Scores the same targets by every model; ``score`` is a function of ``scoring``, ``context`` is of ``prefill``.

    Args:
        params, frozen, graphdef, tuning, mesh: as ``prefill`` has them.
        context: what ``prefill`` returned.
        pairs: prompts' rows ``[P]``, targets ``[P, T]`` and their lengths ``[P]``.
        score: scores the targets of one model.
    """

    def one(own: Any, shared: Any) -> Array:
        (trained, read), (rest, asked) = own, shared
        return score(join(trained, rest, tuning), read, *asked, graphdef=graphdef)

    return over_runs(one, mesh)((params, context), (frozen, pairs))


@functools.partial(jax.jit, static_argnames=("graphdef", "tuning", "mesh", "max_length", "vocabulary_size", "decoding"))
def generate(
    params: Mapping[str, Any],
    frozen: Mapping[str, Any],
    prompts: Sequence[Array | None],
    *,
    graphdef: nnx.GraphDef,
    tuning: TuningConfig,
    mesh: Mesh,
    **options: Any,
) -> Int[Array, "R B T"]:
    """Generates a continuation of the same prompts by every model.

    Args:
        params, frozen, graphdef, tuning, mesh: as ``prefill`` has them.
        prompts: the arrays that ``generation.generate`` takes beside parameters.
        options: its other arguments.
    """

    def one(own: Any, shared: Any) -> Array:
        rest, asked = shared
        return generation.generate(join(own, rest, tuning), *asked, graphdef=graphdef, **options)

    return over_runs(one, mesh)(params, (frozen, prompts))
