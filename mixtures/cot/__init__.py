"""The chain-of-thought collection of FLAN 2022: nine tasks that reason, and the inversion of each."""

from mixtures.cot import commonsense as commonsense
from mixtures.cot import entailment as entailment
from mixtures.cot import facts as facts
from mixtures.cot import math as math
from mixtures.cot import reading as reading
from mixtures.cot import science as science
