"""The gin file of a study of learning rates, of a model so small that its runs take a second."""

_TEXT = """
include 'models/t5_tiny.gin'
include 'runs/finetune.gin'
MIXTURE_OR_TASK_NAME = 'own_mixture'
TASK_FEATURE_LENGTHS = {{'inputs': 48, 'targets': 8}}
TRAIN_STEPS = {steps}
BATCH_SIZE = 4
LOG_PERIOD = 2
CHECKPOINT_PERIOD = 2
EvalConfig.max_examples = 4
T5Config.d_model = 16
T5Config.d_ff = 16
T5Config.num_heads = 2
T5Config.d_kv = 8
T5Config.num_encoder_layers = 1
T5Config.num_decoder_layers = 1
study.name = 'rates'
study.objective = 'held_in/choice_probability'
study.factors = (@Values(),)
Values.option = 'OptimizerConfig.learning_rate'
Values.values = {rates}
"""


def rates_study(*rates: float, steps: int) -> str:
    """Returns the text of a study with a run of so many steps for each rate; its mixture is `own_mixture` of the conftest."""
    return _TEXT.format(rates=rates, steps=steps)
