"""Declarations only: one module per cluster or collection. Importing this package reads no data."""

from flan_jax.data.seqio_bridge import hook as seqio_hook
from mixtures import cot as cot
from mixtures import dialog as dialog
from mixtures import flan2021 as flan2021
from mixtures import flan2022 as flan2022
from mixtures import local as local
from mixtures import mini as mini
from mixtures import mini_wide as mini_wide
from mixtures import open_tasks as open_tasks
from mixtures import program_synthesis as program_synthesis
from mixtures import real_sources as real_sources
from mixtures import superni as superni
from mixtures import t0 as t0

# seqio learns of what is catalogued here when, and only if, it is imported.
seqio_hook.install()
