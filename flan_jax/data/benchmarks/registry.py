"""Benchmarks by name: ``BENCHMARKS.get("mmlu")``. A module of a user's adds its own with ``BENCHMARKS.add``."""

from flan_jax.data.benchmarks.bbh import BBH, BBH_COT
from flan_jax.data.benchmarks.benchmark import Benchmark
from flan_jax.data.benchmarks.gsm8k import GSM8K
from flan_jax.data.benchmarks.mmlu import MMLU
from flan_jax.data.benchmarks.mmlu_cot import MMLU_COT
from flan_jax.tasks.catalog import Registry

BENCHMARKS: Registry[Benchmark] = Registry("benchmark", remedy="`flan-jax eval --list_benchmarks` lists them.")

for _benchmark in (MMLU, MMLU_COT, BBH, BBH_COT, GSM8K):
    BENCHMARKS.add(_benchmark.name, _benchmark)
