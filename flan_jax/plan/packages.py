"""The packages that hold the targets' compilers: whether they are there and fit this JAX."""

import dataclasses
import importlib.metadata
import re
from typing import Literal

from flan_jax.errors import UserError
from flan_jax.plan.targets import Target

CompilerName = Literal["tpu", "cuda", "cpu"]
_GPU_PACKAGES = ("jax-cuda12-plugin", "jax-cuda12-pjrt")


@dataclasses.dataclass(frozen=True)
class Compiler:
    """The compiler of a plan's programs.

    Attributes:
        name: `tpu` and `cuda` are the targets' own, `cpu` stands in for them.
        version: its package and version.
        note: what to install where it only stands in; else empty.
    """

    name: CompilerName
    version: str
    note: str = ""


def compiler_for(target: Target, *, force_cpu: bool = False) -> Compiler:
    """Returns the target's own compiler where its package is installed, or else the CPU's with a note that says so.

    Raises:
        UserError: the package is there and does not fit the installed JAX.
    """
    jax_version = importlib.metadata.version("jax")
    found = None if force_cpu else _tpu(jax_version) if target.platform == "tpu" else _cuda(jax_version)
    if found is not None:
        return found
    extra = "plan-tpu" if target.platform == "tpu" else "plan-gpu"
    reason = (
        "As asked, the programs" if force_cpu else f"The compiler of {target.name} is not installed, so the programs"
    )
    return Compiler(
        "cpu",
        f"jaxlib {importlib.metadata.version('jaxlib')} (CPU)",
        f"{reason} were compiled for simulated CPU devices: the shardings are those of the run, but temporaries and "
        f"collectives are the CPU compiler's. `pip install 'flan-jax[{extra}]'` brings the compiler of {target.name}; it "
        "needs no device.",
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tpu(jax_version: str) -> Compiler | None:
    version = _version("libtpu")
    if version is None:
        return None
    wanted = wanted_libtpu()
    if wanted and not f"{version}.".startswith(f"{wanted}."):
        raise UserError(
            f"libtpu {version} does not match JAX {jax_version}, which is built for libtpu {wanted}.*: install "
            "'flan-jax[plan-tpu]' again, or uninstall libtpu to plan with simulated CPU devices."
        )
    return Compiler("tpu", f"libtpu {version}")


def wanted_libtpu() -> str:
    """Returns the version of libtpu that the installed JAX asks for, without its last part; empty where it does not say."""
    for line in importlib.metadata.requires("jax") or ():
        if found := re.match(r"libtpu *== *([\d.]+?)\.\*", line):
            return found[1]
    return ""


def _cuda(jax_version: str) -> Compiler | None:
    versions = {package: _version(package) for package in _GPU_PACKAGES}
    if None in versions.values():
        return None
    for package, version in versions.items():
        if version != jax_version:
            raise UserError(
                f"{package} {version} does not match JAX {jax_version}: the two must have the same version. Install "
                f"'flan-jax[plan-gpu]' again, or uninstall {package} to plan with simulated CPU devices."
            )
    return Compiler("cuda", f"{_GPU_PACKAGES[1]} {versions[_GPU_PACKAGES[1]]}")
