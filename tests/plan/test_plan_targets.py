"""Targets, their packages and the devices that stand for them."""

import importlib.metadata

import pytest

from flan_jax.errors import UserError
from flan_jax.plan import packages
from flan_jax.plan.packages import compiler_for
from flan_jax.plan.targets import TARGETS, target_named
from flan_jax.plan.topologies import check_count, gpu_description, slice_shape


def test_an_unknown_target_has_neighbours() -> None:
    with pytest.raises(UserError, match="Did you mean 'v5p' or 'v5e'"):
        target_named("v5")
    assert target_named("h200") is TARGETS["H200"]


def test_rates_are_in_one_scale() -> None:
    for target in TARGETS.values():
        assert 1e14 < target.flops < 1e16
        assert 1 <= target.flops / target.flops_f32 <= 2
        assert target.network < target.link < target.bandwidth
        assert 15 * 2**30 < target.memory < target.host_memory


@pytest.mark.parametrize(
    ("chips", "dims", "shape"),
    [(1, 2, (1, 1)), (8, 2, (2, 4)), (256, 2, (16, 16)), (4, 3, (2, 2, 1)), (8, 3, (2, 2, 2)), (64, 3, (4, 4, 4))],
)
def test_the_shape_of_a_slice(chips: int, dims: int, shape: tuple[int, ...]) -> None:
    assert slice_shape(chips, dims) == shape


def test_counts_that_are_not_sold_name_the_nearest() -> None:
    with pytest.raises(UserError, match="--devices 8 or 16"):
        check_count(TARGETS["v5e"], 12, 1)
    with pytest.raises(UserError, match="--devices 8 or 16"):
        check_count(TARGETS["H100"], 12, 1)
    with pytest.raises(UserError, match="multiple of 3"):
        check_count(TARGETS["v4"], 8, 3)
    check_count(TARGETS["H200"], 4, 1)
    check_count(TARGETS["v4"], 24, 3)


def test_the_description_of_a_gpu_has_its_whole_memory() -> None:
    target = TARGETS["H200"]
    assert target.cores is not None
    text = gpu_description(target, target.cores)
    memory = next(int(line.split(": ")[1]) for line in text.splitlines() if "device_memory_size" in line)
    assert memory == pytest.approx(151397597184, abs=10)
    assert "cuda_compute_capability { major: 9 }" in text


class Installed:
    """Distributions of an environment of the test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
        versions = {"jax": "0.10.2", "jaxlib": "0.10.2", **{name.replace("_", "-"): v for name, v in versions.items()}}

        def version(name: str) -> str:
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(packages.importlib.metadata, "version", version)
        wants = ["numpy>=2", 'libtpu==0.0.42.*; extra == "tpu"']
        monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: wants)


def test_without_the_package_the_cpu_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Installed(monkeypatch)
    for name, extra in (("v5e", "plan-tpu"), ("H100", "plan-gpu")):
        found = compiler_for(TARGETS[name])
        assert found.name == "cpu"
        assert f"flan-jax[{extra}]" in found.note


def test_a_package_that_fits_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    Installed(monkeypatch, libtpu="0.0.42.1", jax_cuda12_plugin="0.10.2", jax_cuda12_pjrt="0.10.2")
    assert compiler_for(TARGETS["v4"]).name == "tpu"
    assert compiler_for(TARGETS["B200"]).name == "cuda"
    assert compiler_for(TARGETS["v4"], force_cpu=True).name == "cpu"


def test_a_package_of_another_jax_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Installed(monkeypatch, libtpu="0.0.421", jax_cuda12_plugin="0.10.2", jax_cuda12_pjrt="0.9.0")
    with pytest.raises(UserError, match=r"libtpu 0\.0\.421 does not match JAX 0\.10\.2.*libtpu 0\.0\.42\.\*"):
        compiler_for(TARGETS["v6e"])
    with pytest.raises(UserError, match=r"jax-cuda12-pjrt 0\.9\.0 does not match JAX 0\.10\.2"):
        compiler_for(TARGETS["A100-80"])
