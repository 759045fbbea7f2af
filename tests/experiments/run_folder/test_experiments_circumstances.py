import subprocess

from flan_jax.experiments.run_folder.circumstances import code_revision, hardware


def git(folder, *words):
    names = ("-c", "user.name=n", "-c", "user.email=e")
    return subprocess.run(["git", "-C", str(folder), *names, *words], check=True, capture_output=True, text=True).stdout


def test_a_revision_is_that_of_a_checkout_and_says_whether_the_code_was_changed(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert code_revision(package) == {}
    git(tmp_path, "init", "-q")
    assert code_revision(package) == {}  # as a wheel inside another project's checkout
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert code_revision(package) == {"commit": commit, "changed": False}
    (tmp_path / "beside.txt").write_text("untracked")
    assert code_revision(package)["changed"] is False
    (package / "__init__.py").write_text("changed = 1\n")
    assert code_revision(package) == {"commit": commit, "changed": True}


def test_where_git_is_missing_the_revision_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_revision() == {}


def test_hardware_names_devices_and_machine():
    found = hardware()
    assert (found["platform"], found["processes"]) == ("cpu", 1)
    assert found["devices"] >= 1
    assert found["processor"]
