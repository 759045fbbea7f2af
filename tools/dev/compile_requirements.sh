#!/usr/bin/env bash
# Writes the lock files requirements/*.txt from pyproject.toml and requirements/*.in (needs uv).
#   tools/dev/compile_requirements.sh              keeps every pin that still fits
#   tools/dev/compile_requirements.sh --upgrade    moves every pin to the newest that fits
# One file serves Python 3.11 to 3.13 on every system. It holds names, versions and hashes, and no address to fetch from.
set -euo pipefail
cd "$(dirname "$0")/../.."

uv=${UV:-uv}
if ! command -v "$uv" >/dev/null; then
  echo "Compiling the lock files needs uv, and '$uv' is not on PATH: install it, or set UV=/path/to/uv." >&2
  exit 1
fi
compile() {
  echo "compiling ${*: -1}"
  "$uv" pip compile --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --quiet "$@"
}

compile "$@" pyproject.toml --extra dev -o requirements/dev.txt
# The others agree with dev.txt wherever they share a package, so that they fit one environment.
compile pyproject.toml --constraint requirements/dev.txt -o requirements/run.txt
compile requirements/parity.in --constraint requirements/dev.txt -o requirements/parity.txt
compile requirements/notebook.in --constraint requirements/dev.txt -o requirements/notebook.txt
# Of `jax[tpu]` the compiler alone: the rest is in dev.txt.
whole=$(mktemp)
trap 'rm -f "$whole"' EXIT
echo "jax[tpu]" | compile - --constraint requirements/dev.txt -o "$whole"
awk '/^[^ ]/ { kept = /^libtpu==/ } kept' "$whole" >requirements/tpu.txt
