"""Supported releases of lm-evaluation-harness: others are refused, and named."""

import importlib.metadata
import re

from flan_jax.errors import UserError

PACKAGE = "lm-eval"
OLDEST, NEWEST = (0, 4, 12), (0, 5, 0)
"""The first and the last release that the parity tests have been run with."""
SUPPORTED = "0.4.12 and later of 0.4, and 0.5.0 with its pre-releases"
_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def check_version() -> str:
    """Returns the version of the harness that is installed.

    Raises:
        UserError: none is, or one that the backend is not written for.
    """
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"lm-evaluation-harness is not installed. Install it with its extra: pip install 'flan-jax[harness]' "
            f"(supported: {SUPPORTED})."
        ) from None
    found = _RELEASE.match(version)
    release = tuple(int(part or 0) for part in found.groups()) if found else ()
    if not OLDEST <= release <= NEWEST:
        raise UserError(
            f"lm-evaluation-harness {version} is installed, and flan_jax is a backend of {SUPPORTED}. "
            f"Install one of these: pip install '{PACKAGE}>=0.4.12,<0.5'."
        )
    return version
