"""Broken adapters, and the one thing that the kit names for each; what is right is never named."""

from dataclasses import replace

import pytest
import torch
from headrouter_auraflow import testing as auraflow
from headrouter_auraflow.backbone import AuraFlowBackbone
from headrouter_chroma import testing as chroma
from headrouter_chroma.backbone import ChromaBackbone
from headrouter_flux import testing as flux
from headrouter_flux.backbone import FluxBackbone
from headrouter_flux2 import testing as flux2
from headrouter_flux2.backbone import KleinBackbone
from headrouter_qwen_image import testing as qwen_image
from headrouter_qwen_image.backbone import QwenImageBackbone
from headrouter_sd3 import testing as sd3
from headrouter_sd3.backbone import SD3Backbone

from headrouter.attention.rows import classifier_free
from headrouter.testing import BackboneSubject
from headrouter.testing.check import run
from headrouter.testing.checks.backbone import CHECKS
from headrouter.testing.toy import ToyMMDiT

AURAFLOW, FLUX, TWO_PASSES, SD3 = auraflow.subjects()[0], flux.subjects()[0], flux.subjects()[1], sd3.subjects()[0]
QWEN_IMAGE, CHROMA, KLEIN = qwen_image.subjects()[0], chroma.subjects()[0], flux2.subjects_of_klein()[0]
BY_NAME = {check.name: check for check in CHECKS}
THINGS = {
    "sign": "sign of the velocity",
    "time": "time that the model is told",
    "shift": "shift of the time grid",
    "guidance": "guidance",
    "embeddings": "'prompt_embeds'",
    "pooled": "'pooled_prompt_embeds'",
    "mask": "'mask'",
    "negative": "negative prompt",
    "text": "text token",
    "scheduler": "FlowMatchEuler",
    "packing": "packed",
}
BROKEN = {}


def broken(base, says, *names):
    """Register a mistake, what the kit must say of it, and the things that it may name."""

    def register(kind):
        def build():
            right = base.build()
            return kind("tiny", right.pipeline, right.parameters)

        BROKEN[kind.__name__] = (replace(base, name=kind.__name__, build=build), says, names)
        return kind

    return register


@broken(AURAFLOW, ": the sign of the velocity is reversed", "sign")
class Reversed(AuraFlowBackbone):
    def predict(self, latents, sigma, batch):
        return -super().predict(latents, sigma, batch)


@broken(SD3, ": the time that the model is told is 1000 times too small", "time")
class TimeTooSmall(SD3Backbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, sigma / 1000, batch)


@broken(
    AURAFLOW,
    ": the second step, at σ = 0.0030, since the first is right; look at the time that the model is told",
    "time",
)
class TimeOfAnotherGrid(AuraFlowBackbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, sigma**2, batch)


@broken(AURAFLOW, ": the time that the model is told is 1 − σ where", "time")
class TimeOfThePicture(AuraFlowBackbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, 1 - sigma, batch)


@broken(KLEIN, ": the sign of the velocity is reversed and the time that the model is told is 1 − σ", "sign", "time")
class TimeAndSignOfThePicture(KleinBackbone):
    def predict(self, latents, sigma, batch):
        return -super().predict(latents, 1 - sigma, batch)


@broken(SD3, ": the time, which does not reach the model")
class TimeLost(SD3Backbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, 0.5, batch)


@broken(AURAFLOW, ": the shift of the time grid, since the reference steps by way of σ = ", "shift")
class Unshifted(AuraFlowBackbone):
    def set_steps(self, scheduler, steps, tokens):
        scheduler.set_shift(1.0)
        super().set_steps(scheduler, steps, tokens)


@broken(FLUX, ": the shift of the time grid", "shift")
class ShiftOfAnotherSize(FluxBackbone):
    def set_steps(self, scheduler, steps, tokens):
        super().set_steps(scheduler, steps, 100 * tokens)


@broken(FLUX, ": the embedded guidance that the model is told is 1000 times too small", "guidance")
class EmbeddedGuidanceTooSmall(FluxBackbone):
    def predict(self, latents, sigma, batch):
        told = [replace(item, row=replace(item.row, guidance=item.row.guidance / 1000)) for item in batch]
        return super().predict(latents, sigma, told)


@broken(CHROMA, ": guidance is too small by 1", "guidance")
class GuidanceCountedFromZero(ChromaBackbone):
    def combine(self, unconditional, conditional, guidance, sigma):
        return classifier_free(unconditional, conditional, guidance - 1)


@broken(TWO_PASSES, ": the two branches of guidance are swapped", "guidance")
class BranchesSwapped(FluxBackbone):
    def combine(self, unconditional, conditional, guidance, sigma):
        return classifier_free(conditional, unconditional, guidance)


@broken(QWEN_IMAGE, ": guidance, whose result the reference rescales to the norm of each token without it", "guidance")
class GuidanceNotRescaled(QwenImageBackbone):
    def combine(self, unconditional, conditional, guidance, sigma):
        return classifier_free(unconditional, conditional, guidance)


@broken(SD3, ": guidance (g = 3)", "guidance")
class GuidanceOfItsOwn(SD3Backbone):
    def combine(self, unconditional, conditional, guidance, sigma):
        return classifier_free(unconditional, conditional, 1.7 * guidance)


@broken(FLUX, ": the prompt's tensor 'pooled_prompt_embeds', which does not reach the model", "pooled")
class PooledLost(FluxBackbone):
    def predict(self, latents, sigma, batch):
        pooled = torch.zeros(1, 16)
        tensors = [{**item.prompt.tensors, "pooled_prompt_embeds": pooled} for item in batch]
        rows = [
            replace(item, row=replace(item.row, prompt=replace(item.prompt, tensors=each)))
            for item, each in zip(batch, tensors, strict=True)
        ]
        return super().predict(latents, sigma, rows)


@broken(CHROMA, ": the prompt's tensor 'mask', which does not reach the model", "mask")
class MaskLost(ChromaBackbone):
    def encode_prompt(self, text):
        tensors = super().encode_prompt(text)
        return {**tensors, "given": torch.ones_like(tensors["mask"])}

    def predict(self, latents, sigma, batch):
        self.swap = True
        try:
            return super().predict(latents, sigma, [_without_mask(item) for item in batch])
        finally:
            self.swap = False


def _without_mask(item):
    name = "prompt" if item.prompt is item.row.prompt else "negative"
    ones = replace(item.prompt, tensors={**item.prompt.tensors, "mask": item.prompt.tensors["given"]})
    return replace(item, row=replace(item.row, **{name: ones}))


@broken(AURAFLOW, ": the negative prompt, which does not reach the model", "negative")
class NegativeLost(AuraFlowBackbone):
    def velocity(self, latents, sigma, rows):
        [nothing] = self.encode_prompts(["a"])
        return super().velocity(latents, sigma, [replace(row, negative=nothing) for row in rows])


@pytest.mark.parametrize("name", BROKEN)
def test_the_one_thing_that_is_wrong_is_named(name):
    subject, says, names = BROKEN[name]
    result = run(BY_NAME["generation_is_the_references"], subject)
    assert result.outcome == "failed"
    said = result.message.partition("\nIf this fails")[0]
    assert says in said, said
    hint = said.partition("from the reference's: ")[2]
    for thing, words in THINGS.items():
        assert thing in names or words not in hint, f"{thing} is innocent: {said}"


def test_a_scheduler_of_the_right_kind_is_not_blamed():
    class Unset(FluxBackbone):
        def set_steps(self, scheduler, steps, tokens):
            scheduler.set_timesteps(steps, device="cpu")  # without `mu`

    right = FLUX.build()
    subject = replace(FLUX, build=lambda: Unset("tiny", right.pipeline, right.parameters))
    result = run(BY_NAME["the_time_grid_falls_to_zero"], subject)
    assert result.outcome == "failed"
    said = run(BY_NAME["generation_is_the_references"], subject).message
    assert "look at how `set_steps` sets it" in said and "`mu`" in said
    assert "Use the FlowMatchEuler" not in said


class Refined(torch.nn.Module):
    """A layer after which every token carries a little of all others."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.weight = layer.weight

    def forward(self, tokens):
        given = self.layer(tokens)
        return given + 0.1 * given.mean(dim=1, keepdim=True)


def refined(*names, moved=False):
    def build():
        toy = ToyMMDiT()
        for name in names:
            setattr(toy, name, Refined(getattr(toy, name)))
        if moved:
            layout = toy._layout
            toy._layout = lambda *sizes: replace(layout(*sizes), text=slice(24, 32), image=slice(0, 24))
        return toy

    return BackboneSubject("refined", build)


@pytest.mark.parametrize("names", [("text_in",), ("image_in",), ("text_in", "image_in")])
def test_a_refiner_before_the_first_block_is_no_error_of_positions(names):
    for check in ("text_tokens_are_where_the_layout_says", "patches_are_where_the_layout_says"):
        result = run(BY_NAME[check], refined(*names))
        assert result.outcome == "passed", result.message


def test_behind_a_refiner_a_wrong_position_is_still_found():
    result = run(BY_NAME["text_tokens_are_where_the_layout_says"], refined("text_in", "image_in", moved=True))
    assert result.outcome == "failed"
    assert "text token 0 is the key at" in result.message
