"""Folders whose weights or vocabularies are incomplete, or belong to another model, are refused by name."""

import json
import shutil
import threading

import pytest
import torch
from headrouter_diffusers import loading
from headrouter_sd3.parameters import SD3Parameters
from torch import nn

from headrouter.errors import HeadRouterError, IncompatibleError, WeightsError

from .folders import add, change, drop, weights_of

MODELS = ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


def refused(folder, match, error=WeightsError):
    with pytest.raises(HeadRouterError, match=match) as caught:
        SD3Parameters(device="cpu").load(str(folder))
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", MODELS)
def test_missing_tensors(broken, part, capfd):
    drop(broken / part, keep=3)
    refused(broken, rf"'{part}' lacks \d+ tensors of its weights, such as '.*'; they are incomplete")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("part", MODELS)
def test_unexpected_tensors(broken, part, capfd):
    add(broken / part, "another.weight", torch.zeros(2))
    refused(broken, rf"'{part}' has no place for 1 tensors of its weights, such as 'another\.weight'")
    assert capfd.readouterr() == ("", "")


def test_a_model_of_fewer_layers_than_its_weights(broken):
    change(broken / "text_encoder" / "config.json", num_hidden_layers=1)
    refused(broken, r"'text_encoder' has no place for \d+ tensors .* 'text_model\.encoder\.layers\.1")


@pytest.mark.parametrize("part", MODELS)
def test_weights_without_their_configuration(broken, part):
    (broken / part / "config.json").unlink()
    refused(broken, rf"lacks {part}/config\.json\. Fetch it again")


@pytest.mark.parametrize("part", TOKENIZERS)
def test_an_absent_vocabulary(broken, part):
    (broken / part / "tokenizer.json").unlink()
    refused(broken, rf"lacks the vocabulary of its '{part}': there is no tokenizer\.json, nor ")


def test_a_vocabulary_of_another_model(broken):
    shutil.rmtree(broken / "tokenizer_3")
    shutil.copytree(broken / "tokenizer", broken / "tokenizer_3")
    change(broken / "model_index.json", tokenizer_3=["transformers", "CLIPTokenizer"])
    refused(broken, r"'tokenizer_3' with token \d+, and its text encoder knows \d+ tokens", IncompatibleError)


def test_a_variant_alone(broken):
    file = weights_of(broken / "transformer")
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    refused(broken, "its 'transformer' as variant 'fp16' only")


def test_a_shard_that_is_not_there_or_elsewhere(broken):
    index = broken / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    for place in ("diffusion_pytorch_model-00002-of-00002.safetensors", "../vae/diffusion_pytorch_model.safetensors"):
        index.write_text(json.dumps({"weight_map": {"x": place}}))
        refused(broken, r"lacks the file '.*' of its 'transformer', which diffusion_pytorch_model\.safetensors\.index")


def test_editors_in_two_threads(saved):
    """Loaders replace functions of PyTorch for the whole process; two at a time would leave them replaced."""
    original, errors, ready = nn.Module.register_parameter, [], threading.Barrier(3)

    def load():
        ready.wait()
        try:
            SD3Parameters(device="cpu").load(str(saved / "sd3"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert nn.Module.register_parameter is original
    assert nn.Linear(1, 1).weight.device.type == "cpu"


def test_a_second_thread_waits_for_the_first(saved):
    done = threading.Event()
    with loading.ONE_AT_A_TIME:
        thread = threading.Thread(
            target=lambda: (SD3Parameters(device="cpu").load(str(saved / "sd3")), done.set()), daemon=True
        )
        thread.start()
        assert not done.wait(0.2)
    thread.join()
    assert done.is_set()
