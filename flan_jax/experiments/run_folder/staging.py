"""MODEL_DIR as an address: the folder of this machine in which such a run works.

    FLAN_JAX_STAGING, or `runs` in the cache folder (``flan_jax.store.cache``)
        <digest of the address's parent>/<its last name>/   a run's folder, as any other
        <digest of the address's parent>/store/             the token store beside it, shared by its siblings

Unlike the rest of the cache it holds what may not be uploaded yet, while a run is at work or where its address took nothing.
"""

import hashlib
import os
import re
from pathlib import Path

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.address_files import shown_address
from flan_jax.store.cache import cache_folder

STAGING = "FLAN_JAX_STAGING"
"""The variable that names the folder of all staging folders."""


def is_address(place: str) -> bool:
    """Tells whether a run's place is an address, and not a folder of this machine."""
    return "://" in place


def check_address(address: str, name: str = "MODEL_DIR") -> None:
    """Refuses an address at which no run can be kept.

    Args:
        address: of the run.
        name: of the setting that holds it.

    Raises:
        UserError: it ends with the process, names no place in a bucket, or has a password in it.
    """
    shown = shown_address(address)
    if address.startswith("memory://"):
        raise UserError(
            f"{name} {shown!r} is the memory of one process and ends with it. Name a folder, or an address that lasts (s3://…, "
            "gs://…)."
        )
    if re.search(r"//[^/@]*:[^/@]*@", address):
        raise UserError(
            f"{name} {shown!r} has a password in it, which the run's config.gin would hold for all to read. Leave it out: "
            "credentials come from the environment or from fsspec's configuration."
        )
    if not _last_name(address):
        raise UserError(f"{name} {shown!r} names no place of a run. Write {shown.rstrip(':/')}://BUCKET/RUN.")


def staging_folder(address: str) -> Path:
    """Returns the folder of this machine in which the run at an address works; it need not exist.

    One address has one folder, and siblings lie side by side, as their token store does.
    """
    parent, _, name = address.rstrip("/").rpartition("/")
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)  # orbax reads some characters as a pattern
    if plain != name:
        plain += f"-{_digest(name)[:8]}"
    named = os.environ.get(STAGING)
    root = Path(os.path.expanduser(named)) if named else cache_folder() / "runs"
    return root.absolute() / _digest(parent)[:16] / plain


def _last_name(address: str) -> str:
    return address.rpartition("://")[2].strip("/").rpartition("/")[2]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
