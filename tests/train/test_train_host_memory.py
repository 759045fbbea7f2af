import os
import subprocess
import sys

import pytest

from flan_jax.train import host_memory

PROGRAM = """
import os, sys
from flan_jax.train.host_memory import start_with_large_pages

process = os.getpid()
start_with_large_pages()
print(process, os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:])
"""
OURS = ("GLIBC_TUNABLES", "LD_PRELOAD", "JAX_PLATFORMS")


def run(**environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    command = [sys.executable, "-c", PROGRAM, "an argument", "--another"]
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=True
    ).stdout.split()


def test_a_program_begins_once_more_with_its_arguments(monkeypatch):
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    if not host_memory.large_pages_help():
        pytest.skip("this system gives no large pages to those who ask")
    _, tunables, *arguments = run()
    assert tunables == "glibc.malloc.hugetlb=1"
    assert arguments == ["an", "argument", "--another"]


@pytest.mark.parametrize(
    "settings", [{"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, {"JAX_PLATFORMS": "cuda,cpu"}, {"LD_PRELOAD": " "}]
)
def test_settings_of_the_user_stay(settings):
    assert run(**settings)[1] == settings.get("GLIBC_TUNABLES", "None")


@pytest.mark.parametrize(("pages", "helps"), [("always [madvise] never", True), ("[always] madvise never", False), (None, False)])  # fmt: skip
def test_it_depends_on_what_the_system_gives(monkeypatch, tmp_path, pages, helps):
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(host_memory, "_DEVICES", ())
    monkeypatch.setattr(host_memory, "_PAGES", tmp_path / "enabled")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    if pages is not None:
        (tmp_path / "enabled").write_text(pages)
    assert host_memory.large_pages_help() is helps
