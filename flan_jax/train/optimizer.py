"""Optimisers and learning-rate schedules, all through optax.

Layers lie stacked on a leading "layers" axis, so an optimiser that looks at matrices has to be told
where they are. The parameters' logical axes say it: each layer is its own matrix for Adafactor's
factored moments, update clipping and parameter scale, and for Muon's orthogonalisation, exactly as if
the layers were separate parameters.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jax.typing import ArrayLike

from flan_jax.errors import UserError
from flan_jax.models.parameter_patterns import check_patterns, matched
from flan_jax.typed import Above0, AtLeast0, Fraction, Natural, Positive, Range, Share, check_fields, unread

SMALLEST_SIZE = 1e-3
"""Adafactor: a parameter whose root mean square is smaller is stepped as one of this (epsilon_2 of the paper)."""
OptimizerName = Literal["adafactor", "adamw", "lion", "muon"]
ScheduleName = Literal["constant", "rsqrt", "linear", "cosine", "wsd"]
MomentumDtype = Literal["float32", "bfloat16"]
_OF_OPTIMIZERS: dict[str, tuple[OptimizerName, ...]] = {
    "beta1": ("adamw", "muon", "lion"),
    **dict.fromkeys(("beta2", "epsilon"), ("adamw", "muon")),
    "momentum_dtype": ("adamw", "muon", "lion"),
    "lion_beta2": ("lion",),
    **dict.fromkeys(("decay_rate", "clipping_threshold", "min_dim_size_to_factor"), ("adafactor",)),
    "momentum": ("muon",),
}
_OF_SCHEDULES: dict[str, tuple[ScheduleName, ...]] = {
    **dict.fromkeys(("total_steps", "final_fraction"), ("linear", "cosine", "wsd")),
    "decay_share": ("wsd",),
}


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Options of the optimizer; every value is checked when it is built (UserError).

    `adafactor` is the one of T5 (Shazeer & Stern 2018, arXiv:1804.04235): factored second moments,
    no momentum, steps relative to each parameter's root mean square, updates clipped at RMS 1.
    `adamw` is Loshchilov & Hutter 2019, arXiv:1711.05101. `muon` orthogonalises the update of every
    matrix (Jordan 2024) and scales it to AdamW's usual size (Liu et al. 2025, arXiv:2502.16982), so
    one learning rate serves both; embeddings, bias tables and norms stay on AdamW. `lion` is Chen et al. 2023
    (arXiv:2302.06675): the sign of an interpolated momentum, for which a third to a tenth of AdamW's learning rate and
    as much more weight decay are usual.

    Patterns are regular expressions as those of `TuningConfig`: without a `/` compared with the last part of a
    parameter's path, with one with all of it. Each must match something that is trained, and no parameter two.
    """

    name: OptimizerName = "adafactor"
    learning_rate: Above0 = 1e-3
    """The peak: reached after the warm-up."""
    schedule: ScheduleName = "constant"
    warmup_steps: Natural = 0
    """Steps of linear growth from 0, in every schedule."""
    total_steps: Natural = 0
    """Where `linear`, `cosine` and `wsd` end; 0 is with the run."""
    final_fraction: Share = 0.0
    """The fraction of the peak at which `linear`, `cosine` and `wsd` end."""
    decay_share: Annotated[float, Range(above=0, at_most=1)] = 0.1
    """WSD (warm-up, stable, decay): the share of `total_steps`, its last part, in which the rate falls linearly."""
    weight_decay: AtLeast0 = 0.0
    """Decoupled, times the learning rate; on matrices only, never on norms, bias tables and embeddings."""
    weight_decay_by_pattern: Mapping[str, AtLeast0] = dataclasses.field(default_factory=dict)
    """Pattern of parameters → their weight decay, whatever they are, in the place of `weight_decay`."""
    rate_by_pattern: Mapping[str, AtLeast0] = dataclasses.field(default_factory=dict)
    """Pattern of parameters → their learning rate, as a multiple of that of all others."""
    clip_norm: AtLeast0 = 0.0
    """The largest global gradient norm; 0 clips nothing."""
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Above0 = 1e-8
    decay_rate: Above0 = 0.8
    """Adafactor: the exponent c of the second-moment decay 1 - t^-c."""
    clipping_threshold: Above0 = 1.0
    """Adafactor: the largest root mean square of one parameter's update, before the learning rate."""
    min_dim_size_to_factor: Positive = 128
    """Adafactor: matrices with a smaller side keep their full second moment."""
    momentum: Fraction = 0.95
    """Muon: the momentum of the matrices."""
    lion_beta2: Fraction = 0.99
    """Lion: the decay of its momentum; the update takes `beta1` of it."""
    momentum_dtype: MomentumDtype = "float32"
    """How the first moment is kept; `bfloat16` takes half its memory. Second moments stay in float32: in eight bits a
    decay as that of `beta2` would leave them as they are."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("weight_decay_by_pattern", "rate_by_pattern"):
            check_patterns(getattr(self, name), f"OptimizerConfig.{name}")
        if self.decays and 0 < self.total_steps <= self.warmup_steps:
            raise UserError(
                f"OptimizerConfig.total_steps is {self.total_steps}; it must be more than warmup_steps={self.warmup_steps} "
                f"for the {self.schedule} schedule."
            )

    def __hash__(self) -> int:
        return hash(
            repr([sorted(value.items()) if isinstance(value, Mapping) else value for value in vars(self).values()])
        )

    def unread(self) -> Iterator[tuple[str, str]]:
        """Fields that are set and that this optimiser or schedule does not read, each with a sentence that says so."""
        yield from unread(self, "name", _OF_OPTIMIZERS)
        yield from unread(self, "schedule", _OF_SCHEDULES)

    @property
    def decays(self) -> bool:
        """True where the schedule has an end."""
        return self.schedule in ("linear", "cosine", "wsd")

    def over(self, steps: int) -> "OptimizerConfig":
        """Returns the configuration with a schedule that ends with a run of so many steps, unless it says its own end.

        Raises:
          UserError: the warm-up takes all of the steps.
        """
        if not self.decays or self.total_steps:
            return self
        if 0 < steps <= self.warmup_steps:
            raise UserError(
                f"OptimizerConfig.warmup_steps is {self.warmup_steps}, but the run has {steps} steps (TRAIN_STEPS), and the "
                f"{self.schedule} schedule has none left to fall in. Lower the one or raise the other."
            )
        return dataclasses.replace(self, total_steps=max(steps, self.warmup_steps + 1))


def learning_rate(config: OptimizerConfig) -> optax.Schedule:
    """Returns the schedule: steps already taken → learning rate of the next step.

    With w = warmup_steps, the first w steps grow linearly: rate(s) = peak · (s+1)/w for s < w, so
    that no step is wasted on a rate of zero. After them: `constant` stays; `rsqrt` is
    peak · √(max(w, 1) / (s+1)), as in T5; `linear` and `cosine` fall and reach `final_fraction` of the
    peak at s = `total_steps`, the first step that is no longer taken; `wsd` stays, and falls so in the last
    `decay_share` of `total_steps` (Hu et al. 2024, arXiv:2404.06395; linearly as Hägele et al. 2024, arXiv:2405.18392).

    Raises:
      UserError: nothing says where the schedule ends (`OptimizerConfig.over`).
    """
    if config.decays and not config.total_steps:
        raise UserError(
            f"The {config.schedule} schedule has no end. Set OptimizerConfig.total_steps to the number of steps."
        )
    peak, warmup = config.learning_rate, config.warmup_steps

    def schedule(count: ArrayLike) -> jax.Array:
        step = jnp.asarray(count, jnp.float32) + 1.0
        growth = jnp.minimum(1.0, step / max(warmup, 1))
        if config.schedule == "constant":
            decay = jnp.ones_like(step)
        elif config.schedule == "rsqrt":
            decay = jnp.sqrt(max(warmup, 1) / jnp.maximum(step, max(warmup, 1)))
        else:
            falling = config.total_steps - warmup
            if config.schedule == "wsd":
                falling = min(falling, max(1, round(config.decay_share * config.total_steps)))
            done = jnp.clip((step - 1.0 - (config.total_steps - falling)) / falling, 0.0, 1.0)
            left = 0.5 * (1.0 + jnp.cos(jnp.pi * done)) if config.schedule == "cosine" else 1.0 - done
            decay = config.final_fraction + (1.0 - config.final_fraction) * left
        return peak * growth * decay

    return schedule


def make_optimizer(config: OptimizerConfig, axes: Any) -> optax.GradientTransformation:
    """Builds the optimiser: clip → precondition → weight decay → learning rate.

    Args:
      axes: nested dict like the parameters whose leaves are tuples of logical axis names
        (`flan_jax.models.build.logical_axes`).

    Raises:
      UserError: a pattern matches no parameter, or two match one.
    """
    steps = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    narrow = jnp.bfloat16 if config.momentum_dtype == "bfloat16" else None
    adam = optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon, mu_dtype=narrow)
    if config.name == "adafactor":
        steps += [_adafactor(config, axes)]
    elif config.name == "adamw":
        steps += [adam]
    elif config.name == "lion":
        steps += [optax.scale_by_lion(b1=config.beta1, b2=config.lion_beta2, mu_dtype=narrow)]
    else:
        kinds = _map_axes(lambda names: "muon" if _is_matrix(names) else "adam", axes)
        steps += [optax.partition({"muon": _muon(config, axes), "adam": adam}, kinds)]
    if config.weight_decay_by_pattern:
        otherwise = _map_axes(lambda names: config.weight_decay * _is_matrix(names), axes)
        steps += [_decayed(_by_pattern(config.weight_decay_by_pattern, otherwise, "weight_decay_by_pattern"))]
    elif config.weight_decay:
        steps += [optax.add_decayed_weights(config.weight_decay, mask=_map_axes(_is_matrix, axes))]
    if config.rate_by_pattern:
        steps += [_scaled(_by_pattern(config.rate_by_pattern, _map_axes(lambda _: 1.0, axes), "rate_by_pattern"))]
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate(config)))


def updates_taken(opt_state: Any, otherwise: ArrayLike) -> ArrayLike:
    """Returns the number of updates that the optimizer's schedule has counted, without steps that were skipped.

    Args:
      opt_state: of an optimizer of `make_optimizer`.
      otherwise: for the state of one that counts none.
    """

    def counts(node: Any) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    found = [node.count for node in jax.tree.leaves(opt_state, is_leaf=counts) if counts(node)]
    return found[-1] if found else otherwise


def _by_pattern(values: Mapping[str, float], otherwise: Any, field: str) -> Any:
    """Returns the value of each parameter: that of the pattern which matches it, else that of the tree `otherwise`.

    Raises:
      UserError: a pattern matches nothing, or two match one parameter.
    """
    result: dict[tuple[str, ...], float] = traverse_util.flatten_dict(otherwise)
    paths, owner = list(result), dict[tuple[str, ...], str]()
    for pattern, value in values.items():
        for path in sorted(matched(pattern, paths, f"OptimizerConfig.{field}", "trained parameter")):
            if path in owner:
                raise UserError(
                    f"OptimizerConfig.{field}: {owner[path]!r} and {pattern!r} both match {'/'.join(path)!r}, which has one "
                    "value. Write patterns that have no parameter in common."
                )
            owner[path], result[path] = pattern, value
    return traverse_util.unflatten_dict(result)


def _decayed(decays: Any) -> optax.GradientTransformation:
    """Adds each parameter times its own weight decay."""

    def update(updates: Any, params: Any) -> Any:
        return jax.tree.map(lambda leaf, param, own: leaf + own * param if own else leaf, updates, params, decays)

    return optax.stateless(update)


def _scaled(factors: Any) -> optax.GradientTransformation:
    """Multiplies each parameter's update."""

    def update(updates: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda leaf, factor: leaf * factor if factor != 1 else leaf, updates, factors)

    return optax.stateless(update)


def _map_axes(function: Any, axes: Any) -> Any:
    return jax.tree.map(function, axes, is_leaf=lambda node: isinstance(node, tuple))


def _is_matrix(names: Sequence[str]) -> bool:
    """Tells whether the parameter multiplies activations: not a norm scale, a bias table or an embedding."""
    return len(names) - ("layers" in names) == 2 and not {"vocab", "buckets"} & set(names)


def _muon(config: OptimizerConfig, axes: Any) -> optax.GradientTransformation:
    # The last two axes are the matrix; the axes left over, that is "layers", are batch axes to optax.
    sides = optax.contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
    dims = _map_axes(lambda names: sides if _is_matrix(names) else optax.MaskedNode(), axes)

    def to_adamw_size(updates: Any, params: Any = None) -> Any:
        # An orthogonal [n, m] matrix has entries of size 1/sqrt(max(n, m)); AdamW's are about 0.2.
        return jax.tree.map(lambda update: update * (0.2 * max(update.shape[-2:]) ** 0.5), updates)

    return optax.chain(
        optax.contrib.scale_by_muon(
            beta=config.momentum,
            mu_dtype=jnp.bfloat16 if config.momentum_dtype == "bfloat16" else None,
            weight_dimension_numbers=lambda _: dims,
        ),
        optax.stateless(to_adamw_size),
    )


def _adafactor(config: OptimizerConfig, axes: Any) -> optax.GradientTransformation:
    """T5's Adafactor without the learning rate, applied to each layer by itself.

    Left alone, optax would factor the two longest axes of an array, among which a small model may have
    "layers", and would measure one root mean square over all layers together.
    """
    single = optax.chain(
        optax.scale_by_factored_rms(decay_rate=config.decay_rate, min_dim_size_to_factor=config.min_dim_size_to_factor),
        optax.clip_by_block_rms(config.clipping_threshold),
        optax.scale_by_param_block_rms(SMALLEST_SIZE),
    )

    def over_layers(function: Any, names: Sequence[str]) -> Any:
        return jax.vmap(function) if names[:1] == ("layers",) else function

    def init(params: Any) -> Any:
        return jax.tree.map(lambda param, names: over_layers(single.init, names)(param), params, axes)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        leaves: Any
        treedef: Any
        leaves, treedef = jax.tree.flatten(updates)
        others = (treedef.flatten_up_to(tree) for tree in (state, params, axes))
        pairs = [
            over_layers(single.update, names)(grad, old, param)
            for grad, old, param, names in zip(leaves, *others, strict=True)
        ]
        news, states = zip(*pairs, strict=True)
        return treedef.unflatten(news), treedef.unflatten(states)

    return optax.GradientTransformation(init, update)
