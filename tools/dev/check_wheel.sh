#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment and runs the quickstart there, from another folder.
#   tools/dev/check_wheel.sh PYTHON [STEPS]     PYTHON: one that has the development requirements
# The empty environment gets requirements/run.txt and no more, so a module that needs a development tool, or a
# requirement that is missing from pyproject.toml, shows here. pip's cache has the packages from the first installation.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${1:?the Python to build with}
steps=${2:-30}
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT

echo "building the wheel"
"$python" -m build --wheel --no-isolation --outdir "$elsewhere/dist" . >"$elsewhere/build.log" 2>&1 ||
  { cat "$elsewhere/build.log" >&2; exit 1; }

echo "installing requirements/run.txt and the wheel into an empty environment"
"$python" -m venv "$elsewhere/venv"
pip() { "$elsewhere/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
# Not compiled: the two programs below need few of the modules, and to compile them all takes longest.
pip install -q --no-compile --require-hashes -r requirements/run.txt
pip install -q --no-compile --no-deps "$elsewhere"/dist/*.whl
pip check

echo "running the installed quickstart, $steps steps, from another folder"
mkdir "$elsewhere/work"
cd "$elsewhere/work"
# Nothing of the checkout may be found by accident.
unset PYTHONPATH
"$elsewhere/venv/bin/python" - <<'END'
import gin, flan_jax, mixtures
from importlib.resources import files

assert gin.parse_config, "gin-config is shadowed"
for module in (flan_jax, mixtures):
    assert "site-packages" in module.__file__, f"{module.__name__} comes from {module.__file__}, not from the wheel"
assert [*files("flan_jax").joinpath("gin_files", "runs").iterdir()], "the wheel has no gin files"
END
"$elsewhere/venv/bin/flan-jax" quickstart --steps "$steps" --model_dir "$elsewhere/run"
test -s "$elsewhere/run/report.html"
echo "the wheel works"
