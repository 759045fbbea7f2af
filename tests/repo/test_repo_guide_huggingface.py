"""The guide's page on Hugging Face folders, followed to the letter."""

from test_repo_guide import follow

from flan_jax.experiments.run_folder.run_files import read_manifest


def test_weights_go_in_and_out_as_the_guide_says(tmp_path):
    follow("huggingface.md", tmp_path)
    assert read_manifest(tmp_path / "runs" / "tuned")["started_from"]["source"] == "tiny_chat"
    card = (tmp_path / "exported" / "tuned" / "README.md").read_text(encoding="utf-8")
    assert "| word_category_zs_opt | word_sense | 100.0000% |" in card
    assert "trained for 2 steps on the mixture `word_category`" in card
