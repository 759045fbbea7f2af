"""An extended Rasch model of which template makes which example come out right.

The logit of a right answer is the sum of an intercept, an effect of the template and one of the example (Rasch 1960),
with covariates of both where they are known (Polo et al., "Efficient multi-prompt evaluation of LLMs", 2024,
arXiv:2405.17202, equation 3). Effects are normal around 0, and their variances are estimated from the data by EM with a
Laplace approximation, where the paper has a fixed ridge. I: templates, J: examples, N: measured cells, D: columns of
intercept, templates and covariates.
"""

import dataclasses

import numpy as np

_ROUNDS = 60
_NEWTON = 25
_DONE = 1e-3
_RIDGE = 1e-2  # of covariates, as the paper's: their effects are all but free
_INTERCEPT = 0.05  # keeps the intercept finite where all answers are right
# Variances have an inverse gamma prior that weighs as one effect of this size: with few templates they would be drawn to 0.
_PRIOR_VARIANCE = 0.1
_LARGEST = 30.0
_FARTHEST = 5.0


@dataclasses.dataclass(frozen=True, eq=False)
class RaschFit:
    """A fitted model.

    Attributes:
        template_logits: ``[I]``, intercept included.
        template_covariance: ``[I, I]``, of these.
        example_logits: ``[J]``; 0 where examples were measured once each, so that their effects cannot be told.
        example_variance: ``[J]``, of these.
        template_variance: of template effects, estimated.
    """

    template_logits: np.ndarray
    template_covariance: np.ndarray
    example_logits: np.ndarray
    example_variance: np.ndarray
    template_variance: float

    def predicted(self, template_logits: np.ndarray | None = None) -> np.ndarray:
        """Computes the chance of a right answer in every cell, ``[..., I, J]``, over what is not known of the examples.

        Args:
            template_logits: ``[..., I]``; those of the fit where not given.
        """
        logits = self.template_logits if template_logits is None else template_logits
        # The mean of a logistic function over a normal, by MacKay's (1992) approximation.
        spread = np.sqrt(1 + np.pi / 8 * self.example_variance)
        return sigmoid((logits[..., None] + self.example_logits) / spread)


def fit_rasch(
    scores: np.ndarray,
    templates: np.ndarray,
    examples: np.ndarray,
    *,
    template_count: int,
    example_count: int,
    template_features: np.ndarray | None = None,
    example_features: np.ndarray | None = None,
) -> RaschFit:
    """Fits the model to measured cells.

    Args:
        scores: ``[N]``, from 0 to 1.
        templates, examples: ``[N]``, numbers of each cell's template and example.
        template_count: I.
        example_count: J.
        template_features: ``[I, p]`` covariates of templates.
        example_features: ``[J, q]`` covariates of examples.
    """
    design = [np.ones((len(scores), 1)), np.eye(template_count)[templates]]
    of_templates = [np.ones((template_count, 1)), np.eye(template_count)]
    if template_features is not None:
        design.append(template_features[templates])
        of_templates.append(template_features)
    fixed = sum(part.shape[1] for part in design)
    if example_features is not None:
        design.append(example_features[examples])
    columns = np.hstack(design)
    apart = len(np.unique(examples)) < len(examples)
    mean = float(np.clip(scores.mean(), 0.5 / (len(scores) + 1), 1 - 0.5 / (len(scores) + 1)))
    dense, effects = np.zeros(columns.shape[1]), np.zeros(example_count)
    dense[0] = np.log(mean / (1 - mean))
    between, within = 0.25, 1.0 if apart else 0.0
    which = slice(1, 1 + template_count)
    for _ in range(_ROUNDS):
        penalty = np.full(columns.shape[1], _RIDGE)
        penalty[0], penalty[which] = _INTERCEPT, 1 / between
        dense, effects, covariance, variances = newton(
            scores, columns, examples, dense, effects, penalty, 1 / within if apart else None
        )
        before = between, within
        between = _variance(dense[which], np.diagonal(covariance)[which])
        within = _variance(effects, variances) if apart else 0.0
        if max(abs(between - before[0]), abs(within - before[1])) < _DONE:
            break
    shown = np.hstack(of_templates)
    logits = shown @ dense[:fixed]
    example_logits = effects + (0.0 if example_features is None else example_features @ dense[fixed:])
    fit = RaschFit(logits, shown @ covariance[:fixed, :fixed] @ shown.T, example_logits, variances, between)
    return _calibrated(fit, scores, np.bincount(templates, minlength=template_count)) if apart else fit


def _calibrated(fit: RaschFit, scores: np.ndarray, asked: np.ndarray) -> RaschFit:
    """Shifts all logits so that the templates, as often as each was asked, have the measured mean over all examples.

    A Laplace approximation takes the modes of skewed posteriors of examples, which lie too near to the prior's mean.
    """
    import scipy.optimize

    mean = float(np.clip(scores.mean(), 0.5 / (len(scores) + 1), 1 - 0.5 / (len(scores) + 1)))

    def missing(shift: float) -> float:
        return float(asked @ fit.predicted(fit.template_logits + shift).mean(axis=-1) / asked.sum()) - mean

    if missing(-_FARTHEST) > 0 or missing(_FARTHEST) < 0:
        return fit
    shift = float(scipy.optimize.brentq(missing, -_FARTHEST, _FARTHEST, xtol=1e-4))
    return dataclasses.replace(fit, template_logits=fit.template_logits + shift)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Computes the logistic function."""
    return 1 / (1 + np.exp(-np.clip(x, -_LARGEST, _LARGEST)))


def _variance(effects: np.ndarray, variances: np.ndarray) -> float:
    total = float(np.sum(effects**2 + variances))
    return (total + _PRIOR_VARIANCE) / (len(effects) + 1)


def newton(
    scores: np.ndarray,
    columns: np.ndarray,
    examples: np.ndarray,
    dense: np.ndarray,
    effects: np.ndarray,
    penalty: np.ndarray,
    example_penalty: float | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The mode and its curvature. Examples touch no other's cells, so they are eliminated and D equations remain.

    Returns:
        (dense effects ``[D]``, example effects ``[J]``, covariance ``[D, D]``, variances ``[J]``).
    """
    count = len(effects)
    for _ in range(_NEWTON):
        chance = sigmoid(columns @ dense + effects[examples])
        weight = np.maximum(chance * (1 - chance), 1e-9)
        missing = scores - chance
        gradient = columns.T @ missing - penalty * dense
        hessian = (columns * weight[:, None]).T @ columns + np.diag(penalty)
        if example_penalty is None:
            covariance = np.linalg.inv(hessian)
            move, moves, variances = covariance @ gradient, np.zeros(count), np.zeros(count)
        else:
            own = np.bincount(examples, weight, count) + example_penalty
            pull = np.bincount(examples, missing, count) - example_penalty * effects
            shared = np.zeros((count, columns.shape[1]))
            np.add.at(shared, examples, columns * weight[:, None])
            scaled = shared / own[:, None]
            covariance = np.linalg.inv(hessian - shared.T @ scaled)
            move = covariance @ (gradient - scaled.T @ pull)
            moves = (pull - shared @ move) / own
            variances = 1 / own + np.einsum("jd,de,je->j", scaled, covariance, scaled)
        largest = max(float(np.abs(move).max()), float(np.abs(moves).max()))
        size = min(1.0, 5.0 / max(largest, 1e-12))
        dense, effects = dense + size * move, effects + size * moves
        if largest < _DONE:
            break
    return dense, effects, covariance, variances
