"""Networks: T5 in Flax NNX, used functionally, with imports and exports of published weights."""
