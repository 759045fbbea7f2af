"""Flan 2022: the Flan Collection."""

from mixtures.flan2022 import mixture as mixture
