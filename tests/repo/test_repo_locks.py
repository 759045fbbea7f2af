"""The lock files: names, versions and hashes, all of one mind, and no address to fetch from."""

import re
import tomllib
from pathlib import Path

import pytest

from flan_jax.plan.packages import wanted_libtpu

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
HASHED = ("dev.txt", "run.txt", "parity.txt", "realweights.txt", "templates.txt", "notebook.txt", "tpu.txt")

PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[0-9][A-Za-z0-9.]*)(?: ; (?P<marker>[^\\]+?))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def pins(name: str) -> dict[tuple[str, str], str]:
    """(package, marker) → version."""
    matches = (PIN.fullmatch(line) for line in (REQUIREMENTS / name).read_text().splitlines())
    return {(match["name"], match["marker"] or ""): match["version"] for match in matches if match}


def canonical(requirement: str) -> str:
    """``Foo_Bar[extra]>=1`` → ``foo-bar``."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("name", HASHED)
def test_every_line_is_a_pin_or_a_hash(name: str) -> None:
    lines = (REQUIREMENTS / name).read_text().splitlines()
    stray = [line for line in lines if not PIN.fullmatch(line) and not HASH.fullmatch(line)]
    assert not stray, f"requirements/{name} holds more than names, versions and hashes: {stray[:3]}"
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if PIN.fullmatch(line):
            assert HASH.fullmatch(following), f"requirements/{name}: no hash under {line!r}"


def test_torch_and_what_is_built_on_it_are_pins_without_address() -> None:
    lines = [line for line in (REQUIREMENTS / "torch.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line.partition("==")[0] for line in lines] == ["torch", "accelerate", "peft"]
    assert all(re.fullmatch(r"[a-z]+==[0-9.]+", line) for line in lines)


@pytest.mark.parametrize(
    ("smaller", "larger"), [("run.txt", "dev.txt"), ("parity.txt", "dev.txt"), ("notebook.txt", "dev.txt")]
)
def test_shared_packages_have_one_version(smaller: str, larger: str) -> None:
    versions: dict[str, set[str]] = {}
    for (package, _), version in pins(larger).items():
        versions.setdefault(package, set()).add(version)
    differ = {
        package: (version, versions[package])
        for (package, _), version in pins(smaller).items()
        if package in versions and version not in versions[package]
    }
    assert not differ, f"{smaller} and {larger} disagree; run `make requirements`: {differ}"


def test_the_compiler_of_tpus_is_of_the_release_that_jax_asks_for() -> None:
    (version,) = pins("tpu.txt").values()
    assert f"{version}.".startswith(f"{wanted_libtpu()}.")


def test_the_run_lock_is_part_of_the_development_lock() -> None:
    missing = {package for package, _ in pins("run.txt")} - {package for package, _ in pins("dev.txt")}
    assert not missing


def test_locks_cover_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = {package for package, _ in pins("run.txt")}
    declared = {canonical(requirement) for requirement in project["dependencies"]}
    assert declared <= run, "pyproject.toml names what run.txt does not pin; run `make requirements`"
    development = {canonical(requirement) for requirement in project["optional-dependencies"]["dev"]}
    assert development <= {package for package, _ in pins("dev.txt")}
    assert not (development - declared) & run, "a development tool would be installed for users"


def test_every_extra_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cuda", "tpu", "beam", "wandb", "dev"} <= set(project["optional-dependencies"])
