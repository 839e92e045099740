"""Errors of normalising latents, one adapter each: decoding is held to the stock picture, encoding to what loses nothing."""

from dataclasses import replace

import pytest
import torch
from headrouter_diffusers import autoencoder
from headrouter_flux2 import testing as flux2
from headrouter_flux2.backbone import KleinBackbone
from headrouter_qwen_image import testing as qwen_image
from headrouter_qwen_image.backbone import QwenImageBackbone
from headrouter_sd3 import testing as sd3
from headrouter_sd3.backbone import SD3Backbone
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from headrouter.testing.check import run
from headrouter.testing.checks.backbone import CHECKS

SD3, QWEN_IMAGE, KLEIN = sd3.subjects()[0], qwen_image.subjects()[0], flux2.subjects_of_klein()[0]
DECODE, ENCODE = "decoding_is_the_references", "encoding_undoes_decoding"
BY_NAME = {check.name: check for check in CHECKS}
WRONG = {}


def wrong(base, check, says):
    """Register a class as the mistake that ``check`` finds; the other check does not, unless both are wrong."""

    def register(kind):
        def build():
            right = base.build()
            return kind("tiny", right.pipeline, right.parameters)

        WRONG[kind.__name__] = (replace(base, name=kind.__name__, build=build), check, says)
        return kind

    return register


class ScaleAndShift(SD3Backbone):
    @property
    def numbers(self):
        configuration = self.pipeline.vae.config
        return configuration.scaling_factor, configuration.shift_factor


@wrong(SD3, ENCODE, ": they are scaled by 0.444")
class EncodesByTheInverseScale(ScaleAndShift):
    def to_latents(self, raw):
        scale, shift = self.numbers
        return (raw - shift) / scale


@wrong(SD3, ENCODE, "shifted by 0.183")
class EncodesWithTheShiftReversed(ScaleAndShift):
    def to_latents(self, raw):
        scale, shift = self.numbers
        return (raw + shift) * scale


@wrong(SD3, ENCODE, "shifted by 0.0913")
class EncodesWithoutTheShift(ScaleAndShift):
    def to_latents(self, raw):
        return raw * self.numbers[0]


@wrong(SD3, ENCODE, "shifted by 0.0304")
class EncodesInTheWrongOrder(ScaleAndShift):
    def to_latents(self, raw):
        scale, shift = self.numbers
        return raw * scale - shift


@wrong(SD3, DECODE, "off by")
class DecodesInTheWrongOrder(ScaleAndShift):
    def to_latents(self, raw):
        scale, shift = self.numbers
        return raw * scale - shift

    def from_latents(self, latents):
        scale, shift = self.numbers
        return (latents + shift) / scale


@wrong(SD3, DECODE, "off by")
class NeitherIsScaled(ScaleAndShift):
    def to_latents(self, raw):
        return raw

    def from_latents(self, latents):
        return latents


class Statistics(QwenImageBackbone):
    @property
    def numbers(self):
        configuration = self.pipeline.vae.config
        return (torch.tensor(each).view(-1, 1, 1) for each in (configuration.latents_mean, configuration.latents_std))


@wrong(QWEN_IMAGE, ENCODE, "scaled by another number in each channel")
class StatisticsOfOtherChannels(Statistics):
    def to_latents(self, raw):
        mean, deviation = self.numbers
        return (raw - mean.flip(0)) / deviation.flip(0)


@wrong(QWEN_IMAGE, ENCODE, "scaled by another number in each channel")
class MeanForDeviation(Statistics):
    def to_latents(self, raw):
        mean, deviation = self.numbers
        return (raw - deviation) / mean


@wrong(QWEN_IMAGE, DECODE, "off by")
class VarianceForDeviation(Statistics):
    def to_latents(self, raw):
        mean, deviation = self.numbers
        return (raw - mean) / deviation**2

    def from_latents(self, latents):
        mean, deviation = self.numbers
        return latents * deviation**2 + mean


@wrong(QWEN_IMAGE, DECODE, "off by")
class OneMeanForAllChannels(Statistics):
    def to_latents(self, raw):
        mean, deviation = self.numbers
        return (raw - mean.mean()) / deviation

    def from_latents(self, latents):
        mean, deviation = self.numbers
        return latents * deviation + mean.mean()


@wrong(QWEN_IMAGE, ENCODE, "off by")
class StatisticsOfThePicture(Statistics):
    def to_latents(self, raw):
        return (raw - raw.mean((2, 3), keepdim=True)) / raw.std((2, 3), keepdim=True)


def patches_last(raw):
    """Patches with the channel last among a patch's numbers, not first."""
    rows, channels, height, width = raw.shape
    split = raw.view(rows, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
    return split.reshape(rows, 4 * channels, height // 2, width // 2)


@wrong(KLEIN, ENCODE, "order of channels and patches")
class PatchesInAnotherOrder(KleinBackbone):
    def to_latents(self, raw):
        mean, deviation = autoencoder.batch_statistics(self.pipeline.vae)
        return (patches_last(raw) - mean) / deviation


@wrong(KLEIN, ENCODE, "another order, look at patches")
class PatchesTransposed(KleinBackbone):
    def to_latents(self, raw):
        mean, deviation = autoencoder.batch_statistics(self.pipeline.vae)
        normal = (pixel_unshuffle(raw, 2) - mean) / deviation
        return normal.unflatten(1, (-1, 2, 2)).transpose(2, 3).flatten(1, 3)


@wrong(KLEIN, DECODE, "off by")
class PatchesUndoneBeforeTheStatistics(KleinBackbone):
    def from_latents(self, latents):
        mean, deviation = (
            each.unflatten(0, (-1, 4)).mean(1) for each in autoencoder.batch_statistics(self.pipeline.vae)
        )
        return pixel_shuffle(latents, 2) * deviation + mean


@wrong(KLEIN, DECODE, "off by")
class VarianceOfTheBatchNorm(KleinBackbone):
    def from_latents(self, latents):
        mean, deviation = autoencoder.batch_statistics(self.pipeline.vae)
        return pixel_shuffle(latents * deviation**2 + mean, 2)


@pytest.mark.parametrize("name", WRONG)
def test_an_error_of_normalisation_is_found(name):
    subject, check, says = WRONG[name]
    result = run(BY_NAME[check], subject)
    assert result.outcome == "failed"
    assert says in result.message.partition("\nIf this fails")[0], result.message


@pytest.mark.parametrize("base", [SD3, QWEN_IMAGE, KLEIN], ids=lambda subject: subject.name)
def test_a_right_adapter_passes_both(base):
    assert [run(BY_NAME[check], base).outcome for check in (DECODE, ENCODE)] == ["passed", "passed"]


def test_a_mean_and_deviation_of_each_channel_are_undone():
    vae = QWEN_IMAGE.build().pipeline.vae
    raw = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(autoencoder.denormalised(vae, autoencoder.normalised(vae, raw)), raw)
    assert autoencoder.normalised(vae, raw)[0, 1, 2, 3] == (raw[0, 1, 2, 3] - 0.3) / 1.4
