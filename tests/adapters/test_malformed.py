"""Configurations and folders of every malformed kind end in a sentence, in little time and memory."""

import json
import os
import shutil

import pytest
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters

from headrouter.errors import HeadRouterError, IncompatibleError, WeightsError

from .folders import change

HUGE = 10**6
CONFIGURATIONS = [
    ("transformer/config.json", {"num_layers": HUGE}, "asks for 1000000 `num_layers` of its 'transformer'"),
    ("transformer/config.json", {"num_layers": 10**30}, "`num_layers`"),
    ("transformer/config.json", {"pos_embed_max_size": HUGE}, r"asks for \d+ values of its 'transformer'"),
    ("transformer/config.json", {"attention_head_dim": 10**12}, "could not be loaded|asks for"),
    (
        "transformer/config.json",
        {"num_layers": "3"},
        r"'3' as `num_layers` of its 'transformer', which must be a number",
    ),
    ("transformer/config.json", {"patch_size": 0}, "could not be loaded"),
    ("transformer/config.json", {"qk_norm": "x"}, "could not be loaded"),
    ("transformer/config.json", {"auto_map": {"AutoModel": "x.Y"}}, "asks for code from elsewhere"),
    ("vae/config.json", {"block_out_channels": None}, "`block_out_channels` of its 'vae', which must be a list"),
    ("vae/config.json", {"layers_per_block": HUGE}, "asks for 1000000 `layers_per_block`"),
    ("vae/config.json", {"norm_num_groups": 3}, "could not be loaded"),
    ("vae/config.json", {"scaling_factor": 0}, "`scaling_factor` must be a number above 0"),
    ("vae/config.json", {"latent_channels": 8}, "weights of another shape"),
    ("text_encoder/config.json", {"num_hidden_layers": HUGE}, "asks for 1000000 `num_hidden_layers`"),
    ("text_encoder/config.json", {"max_position_embeddings": 10**10}, "asks for .* values|another shape"),
    ("text_encoder/config.json", {"hidden_act": "x"}, "could not be loaded"),
    ("text_encoder/config.json", {"attn_implementation": "somebody/kernel"}, "asks for code from elsewhere"),
    ("text_encoder/config.json", {"eos_token_id": 0}, "pools a prompt at token 0, where its 'tokenizer' ends"),
    ("text_encoder_3/config.json", {"num_layers": HUGE}, "asks for 1000000 `num_layers`"),
    ("text_encoder_3/config.json", {"d_model": [1]}, "could not be loaded"),
    ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "1000000 is most"),
    ("scheduler/scheduler_config.json", {"shift": "much"}, "`shift` of its 'scheduler', which must be a number"),
    ("scheduler/scheduler_config.json", {"use_dynamic_shifting": "x"}, "which must be true or false"),
    ("scheduler/scheduler_config.json", {"_class_name": ...}, "names no `_class_name`"),
    ("tokenizer/tokenizer_config.json", {"pad_token": None, "model_max_length": 77}, "must have a padding token"),
    ("model_index.json", {"_class_name": 5}, "is a 5, which backbone 'sd3' cannot drive"),
    ("model_index.json", {"vae": ["os", "system"]}, "asks for the class 'system' of 'os' as its 'vae'"),
    ("model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "has a AutoencoderTiny as its 'vae'"),
    (
        "model_index.json",
        {"text_encoder": ["transformers", "GPT2LMHeadModel"]},
        "where a CLIPTextModelWithProjection is",
    ),
    ("model_index.json", {"scheduler": ["diffusers", "FluxPipeline"]}, "has the scheduler FluxPipeline"),
    ("model_index.json", {"vae": ["diffusers", None]}, "is malformed: .* the part 'vae'"),
    ("model_index.json", {"vae": "x"}, "is malformed"),
    ("model_index.json", {"../vae": ["diffusers", "AutoencoderKL"]}, "has the part '../vae'"),
]


def refused(folder, match, parameters=None):
    with pytest.raises(HeadRouterError, match=match) as caught:
        (parameters or SD3Parameters(device="cpu")).load(str(folder))
    assert type(caught.value) in (WeightsError, IncompatibleError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("file", "values", "match"), CONFIGURATIONS, ids=str)
def test_malformed_configurations(broken, file, values, match):
    change(broken / file, **values)
    refused(broken, match)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 10_000, b"\xff\xfe", b'{"a": NaN}', b" " * 2**21])
@pytest.mark.parametrize("file", ["vae/config.json", "scheduler/scheduler_config.json", "model_index.json"])
def test_files_that_hold_no_configuration(broken, file, content):
    (broken / file).write_bytes(content)
    refused(broken, f"{file} (is damaged|does not describe)")


@pytest.mark.parametrize("file", ["vae/config.json", "tokenizer/special_tokens_map.json", "transformer/x.safetensors"])
def test_a_named_pipe_or_a_dangling_link_is_not_waited_for(broken, file):
    (broken / file).unlink(missing_ok=True)
    os.mkfifo(broken / file)
    refused(broken, f"{file} is no file, or leads to none")
    (broken / file).unlink()
    (broken / file).symlink_to("/nowhere/at/all")
    refused(broken, f"{file} is no file, or leads to none")


def test_an_adapter_that_names_weights_elsewhere(broken):
    (broken / "text_encoder" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/etc"}))
    refused(broken, r"has an adapter_config\.json in its 'text_encoder', which names weights elsewhere")


@pytest.mark.parametrize("axes", [None, "xyz", [16, 56, 56], [4, 6, {}], [4, 6, "6"], ...])
def test_rotary_axes_of_another_width(saved, tmp_path, axes):
    folder = shutil.copytree(saved / "flux", tmp_path / "flux")
    change(folder / "transformer" / "config.json", axes_dims_rope=axes)
    refused(folder, "`axes_dims_rope`", FluxParameters(device="cpu"))
