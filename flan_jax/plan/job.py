"""All that decides a plan: a run's model, step, batch and mesh, and the devices that it is planned for (``PlanJob``)."""

import dataclasses
from typing import Literal

from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.models.config import ModelConfig
from flan_jax.models.peft.config import TuningConfig
from flan_jax.plan.packages import CompilerName
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig
from flan_jax.train.step_config import StepConfig

ProgramName = Literal["train", "read", "score", "decode"]
PROGRAMS: tuple[ProgramName, ...] = ("train", "read", "score", "decode")
"""The training step; evaluation reads prompts, scores targets behind them, and writes texts."""


@dataclasses.dataclass(frozen=True)
class PlanJob:
    """One compilation of a run's programs.

    Attributes:
        model: the network.
        optimizer: of what is trained.
        step: the training step's options.
        tuning: which part of the model is trained.
        mesh: how the devices are laid out.
        mesh_reason: why, where the run names no mesh.
        rows: of the global batch.
        inputs: longest input in tokens.
        targets: longest target in tokens.
        num_tasks: tasks that the metrics are split by.
        eval_rows: prompts that are read at a time in evaluation.
        decoding: how texts are written.
        target: name of the devices in ``targets.TARGETS``.
        devices: of all slices together.
        slices: of the devices, joined by the network alone.
        compiler: of ``packages.compiler_for``.
        programs: that are compiled.
    """

    model: ModelConfig
    rows: int
    inputs: int
    targets: int
    target: str
    devices: int = 1
    slices: int = 1
    compiler: CompilerName = "cpu"
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    step: StepConfig = dataclasses.field(default_factory=StepConfig)
    tuning: TuningConfig = dataclasses.field(default_factory=TuningConfig)
    num_tasks: int = 1
    eval_rows: int = 64
    decoding: DecodingConfig = GREEDY
    programs: tuple[ProgramName, ...] = PROGRAMS
    mesh_reason: str = ""

    @property
    def row_lengths(self) -> tuple[int, int]:
        """Places of a batch's row on the encoder's and on the decoder's side; a decoder's row holds both, the first is 0."""
        if self.model.decoder_only:
            return 0, self.inputs + self.targets
        return self.inputs, self.targets

    @property
    def tokens(self) -> int:
        """Places of a global batch, both sides together."""
        return self.rows * sum(self.row_lengths)
