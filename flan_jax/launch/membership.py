"""The place of this process among several that train together: from the command line, or from a launcher's environment."""

import dataclasses
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence

from flan_jax.errors import UserError
from flan_jax.launch.process_variables import AUTO, COORDINATOR, COUNT, PROCESS_ID
from flan_jax.launch.processes import ALONE, started_by


@dataclasses.dataclass(frozen=True)
class Membership:
    """The place of a process among those that train together.

    Attributes:
        host: of process 0, as the others reach it.
        port: on which process 0 listens.
        process_id: 0-based number of this process.
        count: of all processes.
        local_devices: the devices of this machine that are this process's; ``None`` for all.
    """

    host: str
    port: int
    process_id: int
    count: int
    local_devices: tuple[int, ...] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` of process 0."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def membership(
    coordinator: str | None,
    process_id: int | None,
    num_processes: int | None,
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> Membership | None:
    """Returns the place of this process; ``None`` where it is the only one.

    Args:
        coordinator: ``HOST:PORT`` of process 0, ``auto``, or ``None`` where nothing was said.
        process_id: of this one, or ``None``.
        num_processes: of all, or ``None``.
        timeout_s: how long an environment's services are waited for.
        environment: by default this process's.

    Raises:
        UserError: a part is missing or means nothing, or the environment says nothing.
    """
    launcher = ""
    if coordinator is None and process_id is None and num_processes is None:
        launcher = started_by(environment)
        if not launcher:
            return None
        coordinator, process_id, num_processes = _variables(os.environ if environment is None else environment)
    local: Sequence[int] | None = None
    if coordinator == AUTO:
        coordinator, num_processes, process_id, local = _detected(num_processes, process_id, timeout_s)
        if num_processes == 1:
            return None
    given = {"--coordinator": coordinator, "--process_id": process_id, "--num_processes": num_processes}
    missing = [name for name, value in given.items() if value is None]
    if missing or coordinator is None or process_id is None or num_processes is None:
        alone = f" Set {ALONE}=1 where this is the only one, though {launcher}." if launcher else ""
        raise UserError(
            f"Of several processes each is told where process 0 is, its own number and how many there are; {' and '.join(missing)} "
            f"is missing. Give all three, or --coordinator auto where Slurm, Kubernetes or a TPU's metadata say them.{alone}"
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id is {process_id} of --num_processes {num_processes}: processes are numbered from 0 to "
            f"{max(num_processes - 1, 0)}. Give each a number of its own."
        )
    if num_processes == 1:
        return None
    host, port = _parsed(coordinator)
    return Membership(host, port, process_id, num_processes, None if local is None else tuple(local))


def _variables(given: Mapping[str, str]) -> tuple[str, int | None, int | None]:
    """Returns what JAX's own variables say, as `flan-jax launch` sets them; ``auto`` where they do not say all of it."""
    address, *numbers = (given.get(name, "") for name in (COORDINATOR, PROCESS_ID, COUNT))
    if not address or not all(number.isdecimal() for number in numbers):
        return AUTO, None, None
    return address, int(numbers[0]), int(numbers[1])


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(
            f"--coordinator is {address!r}; it must be HOST:PORT of process 0, such as node0:8476, with a port below 65536."
        )
    return host, int(port)


def check_reachable(place: Membership) -> None:
    """Refuses a name of process 0's host that means another machine on each machine.

    Raises:
        UserError: it resolves to a loopback address, though it is none itself.
    """
    if place.host == "localhost" or _is_loopback(place.host):
        return
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)}
    except OSError:
        return  # a host whose name is not known yet may still come
    if found and all(map(_is_loopback, found)):
        raise UserError(
            f"--coordinator names {place.host!r}, which is {sorted(found)[0]} on this machine: a loopback address, by which no "
            "other machine reaches it. Give an address that all of them reach, or mend /etc/hosts."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _detected(
    count: int | None, process_id: int | None, timeout_s: float
) -> tuple[str | None, int | None, int | None, Sequence[int] | None]:
    """Asks JAX's own detection of launchers."""
    from jax._src.clusters import ClusterEnv  # what jax.distributed.initialize itself asks

    try:
        return ClusterEnv.auto_detect_unset_distributed_params(None, count, process_id, None, None, int(timeout_s))
    except Exception as error:
        raise UserError(
            f"What started this process does not say where the others are ({type(error).__name__}: {error}). Give "
            "--coordinator, --process_id and --num_processes."
        ) from error
