"""Several tokens that end a text: read from a folder's two files, written into one."""

import dataclasses

import pytest

from flan_jax.models.huggingface.families import config_from_fields, fields_from_config
from flan_jax.models.huggingface.reader import read_config
from flan_jax.testing.folders import also_ends, chat_model
from flan_jax.testing.models import tiny_decoder, tiny_t5


@pytest.mark.parametrize(
    "config", [tiny_t5(stop_ids=(5, 7)), tiny_decoder(stop_ids=(5, 7), family="llama", d_model=24)]
)
def test_they_survive_the_way_out_and_back(config):
    fields = fields_from_config(config)
    assert fields["eos_token_id"] == [1, 5, 7]
    assert config_from_fields(fields) == config
    alone = dataclasses.replace(config, stop_ids=())
    assert fields_from_config(alone)["eos_token_id"] == 1


def test_what_is_generated_ends_with_those_of_either_file(tmp_path):
    own = dataclasses.replace(chat_model(tmp_path / "chat", d_model=24), family="llama")
    assert read_config(tmp_path / "chat") == own
    also_ends(tmp_path / "chat", 5, 2, 3)
    assert read_config(tmp_path / "chat") == dataclasses.replace(own, stop_ids=(3, 5))
