"""Who may import whom: the contracts say what their names say, cover every layer, and would notice a breach."""

import re
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = sorted(path.parent.name for path in ROOT.glob("flan_jax/*/__init__.py"))

# CONTRIBUTING.md has the table; the contracts write out what it leaves out.
ROW = re.compile(r"\| `(\w+)` \|(.*)\|")


def table() -> dict[str, set[str]]:
    """Layer → what it may import."""
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## The layers")[2].partition("\n## ")[0]
    rows = {match[1]: match[2] for match in map(ROW.fullmatch, section.splitlines()) if match}
    # Words in brackets and after a semicolon explain; what stands before them is the list.
    return {layer: set(re.findall(r"`(\w+)`", re.split(r"[;(]", text)[0])) for layer, text in rows.items()}


ALLOWED = {layer: allowed for layer, allowed in table().items() if layer != "cli"}

# Where only these may come from outside, the standard library aside.
OUTSIDE = {
    "flan_jax.tasks": set(),
    "flan_jax.launch": {"yaml", "jax"},
    "flan_jax.mixing": {"numpy", "scipy"},
    "flan_jax.store": {"numpy", "pyarrow", "fsspec"},
    "flan_jax.models": {"jax", "flax", "numpy", "safetensors", "jaxtyping"},
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("flan_jax", "mixtures", include_external_packages=True, cache_dir=None)


def test_every_layer_stands_in_the_table() -> None:
    assert set(LAYERS) == {"cli", *ALLOWED}


@pytest.mark.parametrize("layer", ALLOWED)
def test_contract_forbids_all_but_the_table(layer: str) -> None:
    everything = {f"flan_jax.{name}" for name in LAYERS} | {"mixtures"}
    allowed = {name if name == "mixtures" else f"flan_jax.{name}" for name in ALLOWED[layer]}
    forbidden = everything - allowed - {f"flan_jax.{layer}"}
    written = [
        contract
        for contract in CONTRACTS
        if contract.get("source_modules") == [f"flan_jax.{layer}"] and forbidden <= set(contract["forbidden_modules"])
    ]
    assert written, f"no contract forbids flan_jax.{layer} to import each of {sorted(forbidden)}"


@pytest.mark.parametrize("package", OUTSIDE)
def test_what_comes_from_outside(package: str, graph: grimp.ImportGraph) -> None:
    modules = {package, *graph.find_descendants(package)}
    imported = {name for module in modules for name in graph.find_modules_directly_imported_by(module)}
    outside = {name for name in imported if name.partition(".")[0] not in ("flan_jax", "mixtures")}
    stray = outside - OUTSIDE[package] - sys.stdlib_module_names
    assert not stray, f"{package} imports {sorted(stray)}"


@pytest.mark.parametrize(
    "module", ["errors", "files", "option_groups", "signals", "simulated_devices", "typed", "unique_keys"]
)
def test_what_belongs_to_no_layer_imports_its_like_at_most(module: str, graph: grimp.ImportGraph) -> None:
    imported = graph.find_modules_directly_imported_by(f"flan_jax.{module}")
    allowed = {"flan_jax.typed"} if module == "option_groups" else {"flan_jax.errors"} - {f"flan_jax.{module}"}
    assert {name for name in imported if name.startswith("flan_jax")} <= allowed
    assert {name for name in imported if not name.startswith("flan_jax")} <= sys.stdlib_module_names
