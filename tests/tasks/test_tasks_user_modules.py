"""A user's modules are imported from the working folder, remembered, and cannot end the process."""

import sys

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import user_modules
from flan_jax.tasks.user_modules import import_modules, imported_modules


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module into the working folder, and forgets it afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    monkeypatch.setattr(user_modules, "_imported", {})
    names = []

    def module(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        names.append(name)
        return name

    yield module
    for name in names:
        sys.modules.pop(name, None)


def test_modules_of_the_working_folder_are_imported_and_remembered_in_order(write, tmp_path):
    second, first = write("own_second_of_two", "VALUE = 2"), write("own_first_of_two", "VALUE = 1")
    import_modules([first, second])
    import_modules(iter([first]))
    assert [sys.modules[name].VALUE for name in (first, second)] == [1, 2]
    assert imported_modules() == (first, second)
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_the_working_folder_is_looked_through_only_where_it_is_not_already_and_something_is_asked_for(write, tmp_path):
    before = list(sys.path)
    import_modules([])
    assert sys.path == before
    sys.path.append("")  # the working folder too
    import_modules([write("own_found_by_the_empty_name", "")])
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit(0)", r"--module_import own_odd: the module ends the process \(SystemExit: 0\)"),
        ("1 / 0", "--module_import own_odd: ZeroDivisionError: division by zero.*dotted name of a module that imports"),
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("from flan_jax.errors import UserError\nraise UserError('said plainly')", "^said plainly$"),
    ],
)
def test_what_cannot_be_imported_is_said_and_not_remembered(write, text, said):
    with pytest.raises(UserError, match=said):
        import_modules([write("own_odd", text)])
    assert imported_modules() == ()
