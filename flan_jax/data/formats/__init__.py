"""Published formats of instruction data, their detection from keys and types, and their cleaning."""

from flan_jax.data.formats.cleaning import STEPS, Cleaning
from flan_jax.data.formats.detect import FORMATS, detect_format, get_format
from flan_jax.data.formats.oasst import oasst
from flan_jax.data.formats.record_format import Format

__all__ = ["FORMATS", "STEPS", "Cleaning", "Format", "detect_format", "get_format", "oasst"]
