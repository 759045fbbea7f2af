"""Units of rates (examples, tokens, epochs), and their conversion to numbers of draws.

A draw is one example. Of a task with n examples of m tokens on average, a rate r asks for

    examples    r draws                         (seqio's meaning)
    tokens      r tokens, so r / m draws
    epochs      r passes over it, so r · n draws

each relative to the other tasks of the same mixture.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Unit = Literal["examples", "tokens", "epochs"]
UNITS: tuple[str, ...] = get_args(Unit)


def to_draws(
    unit: Unit, rates: Mapping[str, float], sizes: Mapping[str, int], mean_tokens: Mapping[str, float]
) -> dict[str, float]:
    """Converts rates in ``unit`` to relative numbers of draws.

    >>> to_draws("tokens", {"short": 600.0, "long": 600.0}, {}, {"short": 20.0, "long": 300.0})
    {'short': 30.0, 'long': 2.0}

    Args:
        unit: what ``rates`` count.
        rates: task → rate.
        sizes: task → number of examples; read for ``epochs``.
        mean_tokens: task → tokens of an example, both sides, on average; read for ``tokens``.
            Tasks of rate 0 need neither.
    """
    if unit == "tokens":
        return {name: rate / mean_tokens[name] if rate else 0.0 for name, rate in rates.items()}
    if unit == "epochs":
        return {name: rate * sizes[name] if rate else 0.0 for name, rate in rates.items()}
    return dict(rates)


def from_draws(
    unit: Unit, draws: Mapping[str, float], sizes: Mapping[str, int], mean_tokens: Mapping[str, float]
) -> dict[str, float]:
    """Converts relative numbers of draws to rates in ``unit``: undoes ``to_draws``."""
    if unit == "tokens":
        return {name: value * mean_tokens[name] if value else 0.0 for name, value in draws.items()}
    if unit == "epochs":
        return {name: value / sizes[name] if value else 0.0 for name, value in draws.items()}
    return dict(draws)
