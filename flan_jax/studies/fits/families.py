"""The families of laws by name, and what each lacks on this machine."""

import importlib.util
from collections.abc import Sequence

from flan_jax.errors import UserError, unknown
from flan_jax.studies.fits.boosted_trees import BoostedTrees
from flan_jax.studies.fits.family import LawFamily
from flan_jax.studies.fits.gaussian_process import GaussianProcess
from flan_jax.studies.fits.mixing_law import MixingLaw
from flan_jax.studies.fits.ridge import RidgeFamily

FAMILIES: dict[str, LawFamily] = {
    family.name: family for family in (MixingLaw(), RidgeFamily(1), RidgeFamily(2), GaussianProcess(), BoostedTrees())
}
BOOSTED_FROM = 128
"""Runs from which boosted trees are the family that public work advises, and not the log-linear law."""


def default_family(runs: int) -> str:
    """Returns the family that public work advises for so many runs; the choice is by cross-validation all the same."""
    return "boosted_trees" if runs >= BOOSTED_FROM else "log_linear"


def lacking(family: LawFamily) -> str:
    """Returns one sentence on the packages that a family lacks here, or ``""``."""
    missing = [name for module, name in family.packages.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return ""
    return (
        f"{family.name} needs {' and '.join(missing)}, not installed here: pip install {' '.join(missing)} "
        "(they are the extra `studies`)."
    )


def asked_families(names: Sequence[str]) -> tuple[tuple[LawFamily, ...], tuple[str, ...]]:
    """Returns families by name, or all that this machine can fit, and a note on each that it cannot.

    Raises:
        UserError: a name is unknown, or a family asked for by name lacks a package.
    """
    for name in names:
        if name not in FAMILIES:
            raise unknown("family of laws", name, FAMILIES)
        if sentence := lacking(FAMILIES[name]):
            raise UserError(sentence)
    if names:
        return tuple(FAMILIES[name] for name in dict.fromkeys(names)), ()
    notes = {name: lacking(family) for name, family in FAMILIES.items()}
    return (
        tuple(family for name, family in FAMILIES.items() if not notes[name]),
        tuple(note for note in notes.values() if note),
    )
