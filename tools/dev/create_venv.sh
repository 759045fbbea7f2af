#!/usr/bin/env bash
# Creates a virtual environment with the first suitable Python.
#   tools/dev/create_venv.sh FOLDER [PYTHON]
set -euo pipefail

folder=${1:?folder of the virtual environment}
# Python 3.11 comes first because the stored golden numbers were made with it.
candidates=${2:-python3.11 python3.12 python3.13 python3}

for python in $candidates; do
  # A name on PATH may be a launcher with no Python behind it, and some systems ship Python without venv: ask it.
  if "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
    echo "Creating $folder with $("$python" --version) ($(command -v "$python"))"
    exec "$python" -m venv "$folder"
  fi
done
echo "flan_jax needs Python 3.11, 3.12 or 3.13 with its venv module, and none of '$candidates' is one:" \
  "install one, or name it, as in: make PYTHON=/path/to/python3.12 test" >&2
exit 1
