"""Hooks have public names that ``help()`` shows; what an adapter calls by the old ones works for one release, with a warning."""

import inspect
import pydoc
import warnings

import pytest
import torch
from diffusers import AuraFlowPipeline
from headrouter_auraflow.backbone import AuraFlowBackbone
from headrouter_auraflow.parameters import AuraFlowParameters
from headrouter_auraflow.testing import tiny_auraflow
from headrouter_diffusers.pipeline import DiffusersBackbone
from headrouter_diffusers.text_parts import TextPart

from headrouter.models.backbone import Defaults

from .conftest import noise, rows_of

HOOKS = (
    "patch",
    "guided",
    "own_defaults",
    "text_parts",
    "segments",
    "encode_prompt",
    "set_steps",
    "predict",
    "combine",
    "to_latents",
    "from_latents",
    "latent_channels",
    "latent_stride",
    "conditioning",
    "text_mask",
)


def old_adapter():
    class Old(DiffusersBackbone):
        family, kind = "old", AuraFlowPipeline
        rules, text_first, registers = AuraFlowBackbone.rules, True, 8
        _patch, _guided = 2, True

        def __init__(self, source, pipeline, parameters, defaults=None):
            self._parameters = parameters
            super().__init__(source, pipeline, defaults)

        def _own_defaults(self):
            return Defaults(4, 2.0, 48 * 48)

        def _text_parts(self):
            return (TextPart("t5", self.pipeline.tokenizer, 24, 0),)

        def _segments(self, length):
            return (("t5", length),)

        def _encode_prompt(self, text):
            length = self._parts[0].length
            embeds, *_ = self.pipeline.encode_prompt(
                text, do_classifier_free_guidance=False, max_sequence_length=length
            )
            return {"prompt_embeds": embeds}

        def _set_steps(self, scheduler, steps, tokens):
            scheduler.set_timesteps(steps, device="cpu")

        def _predict(self, latents, sigma, batch):
            embeds, time = self._conditioning(batch, "prompt_embeds"), latents.new_full([len(latents)], sigma)
            return self.pipeline.transformer(latents, embeds, time, return_dict=False)[0]

    return Old


def test_an_adapter_of_before_works_and_is_told():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        kind = old_adapter()
        old = kind("tiny", tiny_auraflow(), AuraFlowParameters(max_sequence_length=24), Defaults(7, 2.0, 48 * 48))
        rows, latents = rows_of(old, "a cat"), noise(old)
        velocity = old.velocity(latents, 0.7, rows)
    said = [str(each.message) for each in told if issubclass(each.category, DeprecationWarning)]
    for name in ("patch", "predict", "encode_prompt", "conditioning", "parts", "parameters"):
        assert any(f"`_{name}` of Old is called `{name}` now" in line for line in said), name
    assert (old.defaults.steps, old.settings["max_sequence_length"]) == (7, 24)
    new = AuraFlowParameters(max_sequence_length=24).load("tiny", tiny_auraflow())
    assert torch.equal(velocity, new.velocity(latents, 0.7, rows_of(new, "a cat")))


def test_an_unknown_name_is_none():
    backbone = AuraFlowParameters().load("tiny", tiny_auraflow())
    with pytest.raises(AttributeError, match="'AuraFlowBackbone' object has no attribute '_no_such_hook'"):
        _ = backbone._no_such_hook
    with pytest.warns(DeprecationWarning, match="`_patch` of AuraFlowBackbone is called `patch` now"):
        assert backbone._patch == 2


@pytest.mark.parametrize("name", HOOKS)
def test_help_shows_each_hook(name):
    page = pydoc.plain(pydoc.render_doc(DiffusersBackbone))
    assert inspect.getdoc(inspect.getattr_static(DiffusersBackbone, name))
    assert f" {name}" in page
