"""Instruction data in the formats that it is published in, read as records of three kinds.

    TASK = instruction_task("my_instructions", instruction_source("alpaca_data.json"))

``instruction_source`` reads a file, a folder or a data set of the hub, tells its format by the
first records, cleans it (a published data set as its own paper did), and keeps a part to validate on. ``data_report``
counts what is in it.
"""

from flan_jax.data.formats.cleaning import STEPS, Cleaning
from flan_jax.data.formats.detect import FORMATS, detected, get_format
from flan_jax.data.formats.mixture import is_path, mixture_of_path
from flan_jax.data.formats.oasst import oasst
from flan_jax.data.formats.record_format import Format
from flan_jax.data.formats.report import DataReport, FileReport, data_report
from flan_jax.data.formats.source import InstructionSource, instruction_source
from flan_jax.data.formats.task import instruction_task, tasks_in

__all__ = [
    "FORMATS",
    "STEPS",
    "Cleaning",
    "DataReport",
    "FileReport",
    "Format",
    "InstructionSource",
    "data_report",
    "detected",
    "get_format",
    "instruction_source",
    "instruction_task",
    "is_path",
    "mixture_of_path",
    "oasst",
    "tasks_in",
]
