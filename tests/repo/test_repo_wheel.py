"""What `pip install` brings, and that the folder gin/ hides nothing."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import flan_jax

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive


def test_wheel_carries_every_module_and_gin_file(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("flan_jax", "mixtures"):
        expected = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert expected <= names, sorted(expected - names)
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "flan_jax" / "report" / "assets").iterdir()}
    assert pages
    assert {*pages, "flan_jax/report/published.json"} <= names, sorted(pages - names)
    shipped = {f"flan_jax/gin_files/{path.relative_to(ROOT / 'gin')}" for path in (ROOT / "gin").rglob("*.gin")}
    assert shipped
    assert shipped <= names, sorted(shipped - names)


def test_wheel_says_that_its_packages_are_typed(wheel: zipfile.ZipFile) -> None:
    assert {"flan_jax/py.typed", "mixtures/py.typed"} <= set(wheel.namelist())


def test_wheel_carries_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"flan_jax", "mixtures", f"flan_jax-{flan_jax.__version__}.dist-info"}


def test_version_is_the_same_everywhere() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    assert project["dynamic"] == ["version"]
    assert settings["tool"]["hatch"]["version"]["path"] == "flan_jax/__init__.py"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (flan_jax.__version__, project["license"])
    assert citation["authors"] == project["authors"]


def test_the_gin_folder_does_not_hide_gin_config() -> None:
    assert not list((ROOT / "gin").rglob("__init__.py"))
    # `python -c` puts the working folder, and so gin/, first on the path.
    code = "import gin; gin.parse_config(''); print(gin.__file__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not Path(run.stdout.strip()).is_relative_to(ROOT / "gin")
