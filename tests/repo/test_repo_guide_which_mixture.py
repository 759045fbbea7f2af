"""The guide from a question about mixtures to a confirmed answer, followed to the letter at a tenth of its length."""

import json

import pytest
from test_repo_guide import follow

# A tenth of the steps and of the examples, one law instead of all, and a network that learns nothing but is compiled alike.
SMALLER = {"T5Config.d_model": 32, "T5Config.num_heads": 2, "T5Config.d_ff": 32}
SHORTER = {
    "runs/flan_laptop_base.gin\n": "runs/flan_laptop_base.gin --gin.TRAIN_STEPS=6 --gin.OptimizerConfig.warmup_steps=1"
    + "".join(f" --gin.{name}={value}" for name, value in SMALLER.items())
    + "\n",
    "TRAIN_STEPS = 60": "\n".join(["TRAIN_STEPS = 6", *(f"{name} = {value}" for name, value in SMALLER.items())]),
    "BATCH_SIZE = 8": "BATCH_SIZE = 2",
    "warmup_steps = 6": "warmup_steps = 1",
    "max_examples = 50": "max_examples = 5",
    "propose --study_dir studies/which_mixture": "propose --study_dir studies/which_mixture --families ridge_linear",
}
UNITS = {"sentiment", "word_sense", "closed_book_qa", "acceptability"}


@pytest.mark.deep  # a minute of CPU time
def test_a_mixture_is_chosen_and_confirmed_as_the_guide_says(tmp_path):
    printed = follow("which_mixture.md", tmp_path, SHORTER)
    folder = tmp_path / "studies/which_mixture/proposal"
    proposal = json.loads((folder / "proposal.json").read_text(encoding="utf-8"))
    assert set(proposal["mixtures"]) == {"proposed", "proportional", "equal"}
    for name, weights in proposal["mixtures"].items():
        run = folder / "runs" / name
        trained = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["config"]
        assert trained["weights"] == pytest.approx(weights, rel=1e-5)  # as the gin file has them
        assert set(weights) == UNITS
        assert trained["initial_checkpoint"] == "runs/flan_laptop_base"
        assert (run / "eval/6/results.json").is_file()
    assert "of 3 measured runs" in printed
