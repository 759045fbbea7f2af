#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment and runs docs/tutorial.ipynb there, from another folder:
# the notebook is docs/tutorial.md, word for word (tests/repo/test_repo_tutorial.py).
#   tools/dev/check_wheel.sh PYTHON [OTHER]
# PYTHON: one that has the development requirements; it builds, and runs the wheel too unless OTHER is named.
# OTHER: a version, as 3.13, which is looked for on PATH, by uv and in pyenv's folder; or the path of an interpreter. On it
# a few folders of tests run against the installed wheel as well. A version that is not to be had is said and skipped.
# The empty environment gets requirements/run.txt and no more, so a module that needs a development tool, or a
# requirement that is missing from pyproject.toml, shows here. pip's cache has the packages from the first installation.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${1:?the Python to build with}
other=${2:-}
light=(tests/tasks tests/mixing tests/store tests/test_files.py tests/test_signals.py tests/test_unique_keys.py)
tools=(pytest pytest-timeout iniconfig pluggy pygments packaging hypothesis sortedcontainers beartype)

found() { # a version -> the path of an interpreter of it, if one runs
  local candidate
  for candidate in "python$1" "$(uv python find --no-python-downloads "$1" 2>/dev/null || true)" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1"*/bin/python; do
    if [ -n "$candidate" ] && "$candidate" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

runs_on=$python
if [[ "$other" =~ ^[0-9]+\.[0-9]+$ ]]; then
  runs_on=$(found "$other")
  if [ -z "$runs_on" ]; then
    echo "SKIPPED: no Python $other with its venv module is on PATH, known to uv or in pyenv's folder: nothing of the wheel was checked on it"
    exit 0
  fi
elif [ -n "$other" ]; then
  runs_on=$other
fi

elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT

echo "building the wheel"
"$python" -m build --wheel --no-isolation --outdir "$elsewhere/dist" . >"$elsewhere/build.log" 2>&1 ||
  { cat "$elsewhere/build.log" >&2; exit 1; }

echo "installing requirements/run.txt and the wheel into an empty environment of $("$runs_on" --version)"
"$runs_on" -m venv "$elsewhere/venv"
pip() { "$elsewhere/venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }
# Not compiled: the two programs below need few of the modules, and to compile them all takes longest.
pip install -q --no-compile --require-hashes -r requirements/run.txt
pip install -q --no-compile --no-deps "$elsewhere"/dist/*.whl
pip check

# What runs the notebook, whose cells are commands; the wheel's environment is to hold nothing else.
"$runs_on" -m venv "$elsewhere/jupyter"
"$elsewhere/jupyter/bin/python" -m pip --disable-pip-version-check --no-input install -q --no-compile --require-hashes \
  -r requirements/notebook.txt

echo "following the tutorial with what is installed, from another folder"
mkdir "$elsewhere/work"
root=$PWD
cd "$elsewhere/work"
# Nothing of the checkout may be found by accident.
unset PYTHONPATH
"$elsewhere/venv/bin/python" - <<'END'
import gin, flan_jax, mixtures
from importlib.metadata import version
from importlib.resources import files

assert gin.parse_config, "gin-config is shadowed"
assert version("flan-jax") == flan_jax.__version__, "the wheel has another version than its package"
for module in (flan_jax, mixtures):
    assert "site-packages" in module.__file__, f"{module.__name__} comes from {module.__file__}, not from the wheel"
assert [*files("flan_jax").joinpath("gin_files", "runs").iterdir()], "the wheel has no gin files"
END
cp "$root/docs/tutorial.ipynb" .
PATH="$elsewhere/venv/bin:$elsewhere/jupyter/bin:$PATH" jupyter execute --timeout=1800 tutorial.ipynb
test -s runs/tutorial/report.html

if [ -n "$other" ]; then
  echo "running ${light[*]} against the wheel on $("$elsewhere/venv/bin/python" --version)"
  awk -v names=" ${tools[*]} " '/^[a-z0-9]/ { split($1, pin, "=="); on = index(names, " " pin[1] " ") } on' \
    "$root/requirements/dev.txt" >"$elsewhere/tools.txt"
  pip install -q --no-compile --require-hashes -r "$elsewhere/tools.txt"
  # A copy, as the folder of the checkout would be found before what is installed.
  cp -r "$root/tests" "$root/pyproject.toml" .
  "$elsewhere/venv/bin/python" -m pytest -p no:cacheprovider "${light[@]}"
fi
echo "the wheel works on $("$elsewhere/venv/bin/python" --version)"
