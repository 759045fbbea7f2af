"""Checks the framework on one accelerator: that it computes right, and how fast it is. In less than eight minutes.

    python tools/device_check.py pack wheels --least                     # here: what the device's machine will lack
    python tools/device_check.py run --wheels wheels --json check.json   # there: installs from that folder alone
    python tools/device_check.py run --no_install --json check.json      # there: with the packages of its own Python
    python tools/device_check.py run --no_install --small                # anywhere: sizes that a CPU takes

Each part runs in a process of its own with a limit of time; one that fails or takes too long is recorded, and the others
go on. The JSON is written anew whenever a part has found something. The limits add up, so a part may also use the time
that those before it left. Exit code 1: a check of correctness failed, or its part did not run to its end. 0: all of those
passed, whatever the speeds are.
"""

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parent
sys.path[:0] = [str(TOOLS.parent), str(TOOLS)]

from device import report, wheels  # noqa: E402
from device.parts import PARTS, CheckedPart  # noqa: E402
from device.process import log, run_part  # noqa: E402

from flan_jax.errors import UserError, unknown  # noqa: E402

FAULTS = ("fail", "hang")
_DEVICE_S = 120
"""For the first look at the device."""
_LOOK = (
    "import json, jax; d = jax.devices()[0]; "
    "print(json.dumps({'platform': d.platform, 'device': d.device_kind, 'jax': jax.__version__}))"
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        if options.command == "pack":
            return _pack(options)
        return _run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="parts:\n" + "\n".join(f"  {part.name:<24}{part.limit_s:>4.0f} s  {part.does}" for part in PARTS),
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="download wheels into a folder, for a machine without a network")
    pack.add_argument("folder", type=Path)
    pack.add_argument("--python", default=sys.executable, help="of the device's machine's version (default: this one)")
    pack.add_argument("--cuda", choices=sorted(wheels.PLUGINS), default="12", help="that its driver takes (default 12)")
    pack.add_argument("--least", action="store_true", help="of the pinned packages, only those that the checks import")
    pack.add_argument("--without", nargs="+", default=[], metavar="PACKAGE", help="leave out")
    pack.add_argument("--archive", action="store_true", help="one tar file beside the folder")
    run = commands.add_parser("run", help="check the device of this machine")
    source = run.add_mutually_exclusive_group(required=True)
    source.add_argument("--wheels", type=Path, metavar="FOLDER", help="install from this folder alone")
    source.add_argument("--no_install", action="store_true", help="take the packages of this Python")
    run.add_argument("--venv", type=Path, default=Path("device_check_venv"), help="made with --wheels, for them")
    run.add_argument("--json", type=Path, default=Path("device_check.json"), help="file of the results")
    run.add_argument("--small", action="store_true", help="sizes that a CPU takes")
    run.add_argument("--parts", help="some of them, with commas between (default: all)")
    run.add_argument("--limit", nargs="+", default=[], metavar="PART=SECONDS", help="other limits of time")
    run.add_argument(
        "--fault",
        nargs="+",
        default=[],
        metavar="PART=KIND",
        help="make parts `fail`, or `hang` behind what they find first, to see it recorded",
    )
    return parser.parse_args(arguments)


def _pack(options: argparse.Namespace) -> int:
    made = wheels.pack(
        options.folder, python=options.python, cuda=options.cuda, least=options.least, without=options.without,
        archive=options.archive,
    )  # fmt: skip
    largest = sorted(made["wheels"].items(), key=lambda item: -item[1])[:8]
    print(f"{len(made['wheels'])} wheels, {made['bytes'] / 1e9:.2f} GB, for Python {made['python']}: {options.folder}")
    print("\n".join(f"  {size / 1e6:>8.1f} MB  {name}" for name, size in largest))
    return 0


def _run(options: argparse.Namespace) -> int:
    parts = _limited(_chosen(options.parts), options.limit)
    faults = _faults(parts, options.fault)
    python = sys.executable
    if options.wheels is not None:
        python = wheels.install(options.wheels, options.venv)
    device = _look(python, small=options.small)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "small": options.small,
        "installed": "wheels" if options.wheels is not None else "the packages of this Python",
        "device": device,
        "parts": {part.name: {"status": "not_run", "limit_s": part.limit_s} for part in parts},
    }

    def save() -> None:
        result["checks"] = [check._asdict() for check in report.checks(result["parts"])]
        temporary = options.json.with_name(f"{options.json.name}.tmp")
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, options.json)

    options.json.parent.mkdir(parents=True, exist_ok=True)
    log(f"{device['device']} ({device['platform']}), JAX {device['jax']}")
    begun, allowed = time.monotonic(), 0.0
    with _stopped_by_signals():
        for part in parts:
            allowed += part.limit_s
            limit = max(part.limit_s, allowed - (time.monotonic() - begun))
            settings = {
                "small": options.small,
                "fault": faults,
                "earlier": {name: found.get("results", {}) for name, found in result["parts"].items()},
            }

            def changed(found: dict[str, Any], name: str = part.name) -> None:
                result["parts"][name] = found
                save()

            log(f"{part.name}, at most {limit:.0f} s: {part.does}")
            found = run_part(part, python, settings, limit, changed)
            log(f"  {found['status'].replace('_', ' ')} in {found['seconds']:.1f} s {found.get('reason', '')}")
    save()
    found = report.checks(result["parts"])
    print("\n".join(report.table(found)))
    return 1 if report.failed(found) else 0


def _chosen(names: str | None) -> list[CheckedPart]:
    known = [part.name for part in PARTS]
    asked = known if names is None else [name.strip() for name in names.split(",") if name.strip()]
    for name in asked:
        if name not in known:
            raise unknown("part", name, known, remedy=f"--parts takes some of {', '.join(known)}.")
    if not asked:
        raise UserError(f"--parts is empty: give some of {', '.join(known)}.")
    return report.named(asked)


def _limited(parts: list[CheckedPart], limits: Sequence[str]) -> list[CheckedPart]:
    given = _pairs("--limit", limits)
    found = []
    for part in parts:
        text = given.pop(part.name, None)
        try:
            seconds = part.limit_s if text is None else float(text)
        except ValueError as error:
            raise UserError(f"--limit {part.name}={text}: give seconds, as in --limit {part.name}=60.") from error
        if not 0 < seconds < float("inf"):
            raise UserError(f"--limit {part.name}={text}: seconds must be above 0.")
        found.append(part._replace(limit_s=seconds))
    if given:
        raise unknown("part", next(iter(given)), [part.name for part in parts], remedy="--limit takes parts that run.")
    return found


def _faults(parts: list[CheckedPart], given: Sequence[str]) -> dict[str, str]:
    found, names = _pairs("--fault", given), [part.name for part in parts]
    for name, kind in found.items():
        if name not in names:
            raise unknown("part", name, names, remedy="--fault takes parts that run.")
        if kind not in FAULTS:
            raise unknown("fault", kind, FAULTS, remedy=f"--fault takes {' or '.join(FAULTS)}.")
    return found


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    wrong = next((pair for pair in given if pair.count("=") != 1), None)
    if wrong is not None:
        raise UserError(f"{option} {wrong}: give PART=VALUE.")
    return dict(pair.split("=") for pair in given)


def _look(python: str, *, small: bool) -> dict[str, str]:
    """What JAX of an interpreter sees, in a process of its own, which has the device for as long as it looks alone.

    Raises:
        UserError: there is no JAX, or it sees no accelerator and sizes are not small.
    """
    try:
        done = subprocess.run([python, "-c", _LOOK], capture_output=True, text=True, timeout=_DEVICE_S)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"JAX of {python} did not find its devices in {_DEVICE_S} s: another process may hold them."
        ) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(f"JAX does not start in {python}: {lines[-1] if lines else 'it said nothing'}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    if found["platform"] == "cpu" and not small:
        raise UserError(
            f"JAX {found['jax']} of {python} sees no accelerator, only the CPU. Give --small for sizes that a CPU takes, or "
            "install the plugin of the device (--wheels)."
        )
    return found


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does: what runs is killed, and what it found stays in the JSON."""

    def stop(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
