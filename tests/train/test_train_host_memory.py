import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from flan_jax.train.host_memory import keep_host_memory

kept = keep_host_memory()
def step():
    np.ones(2**23)  # 64 MB, freed at once
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[str, int]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRELOAD", "JAX_PLATFORMS"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")), reason="of glibc")  # fmt: skip
def test_freed_memory_is_not_cleared_by_the_system_again():
    pages = 5 * 2**26 // os.sysconf("SC_PAGESIZE")
    kept, faults = run()
    assert kept == "True"
    assert faults < pages / 50


@pytest.mark.parametrize(
    "settings",
    [{"MALLOC_ARENA_MAX": "2"}, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, {"JAX_PLATFORMS": "cuda,cpu"}],
)
def test_settings_of_the_user_stay(settings):
    assert run(**settings)[0] == "False"
