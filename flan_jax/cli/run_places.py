"""The place of a run that a command names: a folder, or an address that is staged in one."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.cli.gin_config import GinRun
    from flan_jax.experiments.run_folder.mirror import RunMirror

_MARK = ".staged"


def run_folder(place: str, *, step: int | None = None, weights: bool = True) -> str:
    """Returns the folder of a run that is read: a folder as it is, and the staging folder of an address, fetched.

    Args:
        place: as the user named it.
        step: of the checkpoint that is asked for.
        weights: a checkpoint is needed.

    Raises:
        UserError: there is no run at the address, or it cannot be read.
    """
    from flan_jax.experiments.run_folder.staging import is_address

    return str(_fetched(place, step, weights).folder) if is_address(place) else place


@contextlib.contextmanager
def measured_run(place: str, *, step: int | None = None, returned: bool = True) -> Iterator[str]:
    """Yields the same for a command that measures; its results go to the address.

    Args:
        place: as the user named it.
        step: of the checkpoint that is asked for.
        returned: they are written into the run's folder.
    """
    from flan_jax.cli.console import log
    from flan_jax.experiments.run_folder.fetched_run import results_returned
    from flan_jax.experiments.run_folder.staging import is_address

    if not is_address(place):
        yield place
        return
    mirror = _fetched(place, step, weights=True)
    log(f"{mirror.shown} is staged in {mirror.folder}")
    with results_returned(mirror) if returned else contextlib.nullcontext():
        yield str(mirror.folder)


def _fetched(address: str, step: int | None, weights: bool) -> "RunMirror":
    from flan_jax.cli.console import log
    from flan_jax.experiments.run_folder.fetched_run import fetch_run

    return fetch_run(address, step=step, weights=weights, log=log)


def connected(run: "GinRun", mirror: str | None = None) -> "RunMirror | None":
    """Returns the copy of a run that is kept: at MODEL_DIR where that is an address, or at ``mirror``.

    Raises:
        UserError: both are given; the protocol is not known or not installed.
    """
    from flan_jax.cli.console import log
    from flan_jax.experiments.run_folder.mirror import RunMirror

    address = run.address or mirror
    if run.address and mirror:
        raise UserError(
            "MODEL_DIR is an address, at which the run is kept as --mirror keeps it. Leave --mirror out, or name a folder as "
            "MODEL_DIR."
        )
    return RunMirror(address, Path(run.config.model_dir), log) if address else None


@contextlib.contextmanager
def mirrored_run(run: "GinRun", mirror: "RunMirror | None") -> Iterator[None]:
    """Brings MODEL_DIR to where its copy is, and keeps the copy up to date inside: the first process does, for all.

    Raises:
        UserError: another run writes there; the address cannot be read or written; the processes see several folders.
    """
    if mirror is None:
        yield
        return
    import jax

    from flan_jax.cli.console import log
    from flan_jax.experiments.run_folder.mirroring import mirrored
    from flan_jax.launch.distributed import first_alone

    first = jax.process_index() == 0

    def begin() -> None:
        if first:
            if run.address:
                log(f"MODEL_DIR {mirror.shown} is staged in {mirror.folder}")
            stack.enter_context(mirror.writer.held())
            mirror.restore()

    with contextlib.ExitStack() as stack:
        first_alone(begin)
        if run.address:
            _check_shared(mirror.folder)
        if first:
            stack.enter_context(mirrored(mirror, log))
        yield
    first_alone(lambda: None)  # the others wait for the last upload before JAX parts them


def _check_shared(folder: Path) -> None:
    """Checks that all processes of a run see one staging folder, into which each writes its part of a checkpoint."""
    import jax

    from flan_jax.experiments.run_folder.staging import STAGING
    from flan_jax.files import atomic_write_text
    from flan_jax.launch.distributed import check_same, first_alone

    if jax.process_count() == 1:
        return
    mark = folder / _MARK

    def read() -> str:
        if jax.process_index() == 0:
            atomic_write_text(mark, secrets.token_hex(4))
        return mark.read_text(encoding="utf-8") if mark.is_file() else "none"

    check_same(
        "staging folder",
        first_alone(read),
        f"The processes must see one staging folder, and of the mark that the first made in {folder} {{}}. Name a folder of a "
        f"disk that all machines share ({STAGING}).",
    )
