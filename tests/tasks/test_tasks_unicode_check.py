"""What no vocabulary can take is named with its place, and ends of texts lose what is no text."""

import pytest

from flan_jax.tasks.unicode_check import block, unsound

BYTE = "was a byte that is not UTF-8"


@pytest.mark.parametrize(("code", "byte"), [(0xDC7F, False), (0xDC80, True), (0xDCFF, True), (0xDD00, False)])
def test_half_a_pair_is_no_character_and_some_were_bytes(code, byte):
    said = unsound(f"né{chr(code)}")
    assert said.startswith("is not valid Unicode (character 3")
    assert (BYTE in said) == byte


def test_what_can_be_encoded_is_sound():
    for text in ("", "plain", "naïve 👎", "\x01\n"):
        assert unsound(text) == ""
    assert unsound("é\0\ud800").startswith("holds a NUL")


def test_only_blank_lines_and_what_stands_behind_are_taken_away():
    for text, kept in (
        ("\n \t\n  a\n\n b \n\n", "  a\n\n b"),
        ("a", "a"),
        (" a ", " a"),
        (" \n ", ""),
        ("", ""),
        ("\na\n", "a"),
    ):
        assert block(text) == kept
