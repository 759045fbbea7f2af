"""Instruction data in the formats that it is published in, as sources, tasks and mixtures.

    TASK = instruction_task("my_instructions", instruction_source("alpaca_data.json"))

``instruction_source`` reads a file, a folder or a data set of the hub, tells its format by the
first records, cleans it (a published data set as its own paper did), and keeps a part to validate on. ``data_report``
counts what is in it.
"""

from flan_jax.data.instructions.mixture import is_path, mixture_of_path
from flan_jax.data.instructions.report import DataReport, FileReport, data_report
from flan_jax.data.instructions.source import InstructionSource, instruction_source
from flan_jax.data.instructions.task import instruction_task, tasks_in

__all__ = [
    "DataReport",
    "FileReport",
    "InstructionSource",
    "data_report",
    "instruction_source",
    "instruction_task",
    "is_path",
    "mixture_of_path",
    "tasks_in",
]
