"""Adapters with one mistake each, and the check that must find it with what its message must say.

Each is a correct tiny adapter whose class is replaced by a subclass that does one thing wrong.
"""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from headrouter_diffusers.sites import SiteRule
from headrouter_flux import testing as flux
from headrouter_flux.backbone import FluxBackbone
from headrouter_flux2 import testing as flux2
from headrouter_flux2.backbone import KleinBackbone
from headrouter_flux_kontext import testing as kontext
from headrouter_flux_kontext.backbone import KontextBackbone
from headrouter_ovis_image import testing as ovis
from headrouter_ovis_image.backbone import OvisImageBackbone
from headrouter_sd3 import testing as sd3
from headrouter_sd3.backbone import SD3Backbone
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, ReferenceTokens, TokenLayout
from headrouter.attention.rows import batch_rows, guided_velocity
from headrouter.models.backbone import AttentionListener
from headrouter.models.fingerprint import fingerprint, tensors_of
from headrouter.testing import BackboneSubject

FLUX, SD3, OVIS = flux.subjects()[2], sd3.subjects()[0], ovis.subjects()[0]
KONTEXT, KLEIN = kontext.subjects()[1], flux2.subjects_of_klein()[1]


@dataclass(frozen=True)
class Mutant:
    """A mistake, the check that finds it, and words of its message."""

    subject: BackboneSubject
    check: str
    says: str


MUTANTS: dict[str, Mutant] = {}


def mutant(check: str, says: str, base: BackboneSubject) -> Callable[[type], type]:
    """Register a class as the mistake that ``check`` finds."""

    def register(kind: type) -> type:
        def build():
            backbone = base.build()
            return kind("tiny", backbone.pipeline, backbone.parameters)

        subject = replace(base, name=kind.__name__, build=build)
        MUTANTS[kind.__name__] = Mutant(subject, check, says)
        return kind

    return register


@mutant("generation_is_the_references", "the sign of the velocity is reversed", FLUX)
class VelocityReversed(FluxBackbone):
    def predict(self, latents, sigma, batch):
        return -super().predict(latents, sigma, batch)


@mutant("generation_is_the_references", "the time that the model is told is 1000 times too small", SD3)
class TimeThousandTimesTooSmall(SD3Backbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, sigma / 1000, batch)


@mutant("generation_is_the_references", "the time that the model is told is 1000 times too large", FLUX)
class TimeThousandTimesTooLarge(FluxBackbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, 1000 * sigma, batch)


@mutant("each_branch_is_what_it_says", "Are the branches swapped?", SD3)
class HalvesSwapped(SD3Backbone):
    """The guided velocity is right: both the conditioning and the combination are swapped."""

    def velocity(self, latents, sigma, rows):
        def predict(branches: Tensor, batch) -> Tensor:
            other = {"conditional": "unconditional", "unconditional": "conditional"}
            labelled = tuple(replace(item, cfg_branch=other[item.cfg_branch]) for item in batch)
            layout = self._layout(branches, batch[0].prompt.tensors["prompt_embeds"].shape[1])
            with torch.no_grad(), self._tap.forward(labelled, layout):
                return self.predict(branches, sigma, batch)

        return guided_velocity(predict, latents, rows)


@mutant("guidance_is_what_it_says", "guidance 0.0 is off", FLUX)
class HalvesCombinedTheWrongWayRound(FluxBackbone):
    def velocity(self, latents, sigma, rows):
        mirrored = [replace(row, guidance=1 - row.guidance) for row in rows]
        return super().velocity(latents, sigma, mirrored)


@mutant("everything_it_is_told_matters", "'pooled_prompt_embeds' does not matter", FLUX)
class PooledTextLost(FluxBackbone):
    def conditioning(self, batch, name):
        found = super().conditioning(batch, name)
        return torch.zeros_like(found) if "pooled" in name else found


@mutant("text_tokens_are_where_the_layout_says", "text token 0 is the key at", FLUX)
class TextAndImageSwapped(FluxBackbone):
    text_first = False


@mutant("every_site_is_heard_once_and_in_order", "not in the order of execution", SD3)
class SitesReversed(SD3Backbone):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        found = self._tap._found
        self._tap._found = tuple(
            replace(item, site=replace(item.site, index=index)) for index, item in enumerate(reversed(found))
        )
        self._tap._by_module = {item.attention: item for item in self._tap._found}


@mutant("no_joint_attention_is_missed", "a joint site is missing", FLUX)
class SingleBlocksMissed(FluxBackbone):
    rules = FluxBackbone.rules[:1]


@mutant("no_joint_attention_is_missed", "a joint site is missing", SD3)
class FirstBlockMissed(SD3Backbone):
    rules = (SiteRule("transformer_blocks.1.attn", "dual"), SiteRule("transformer_blocks.2.attn", "dual"))


@mutant("no_joint_attention_is_missed", "a joint site is missing", FLUX)
class LastBlockDropped(FluxBackbone):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._tap._found = self._tap._found[:-1]
        self._tap._by_module = {item.attention: item for item in self._tap._found}


@mutant("a_plain_listener_changes_nothing", "the velocity changes by", SD3)
class BlockSkippedWhileAttached(SD3Backbone):
    @contextmanager
    def attach(self, listener):
        last = self.pipeline.transformer.transformer_blocks[1]
        handle = last.register_forward_hook(
            lambda block, arguments, given, output: (given["encoder_hidden_states"], given["hidden_states"]),
            with_kwargs=True,
        )
        with super().attach(listener):
            yield
        handle.remove()


@mutant("every_size_works", "are rows and columns swapped?", FLUX)
class GridTransposed(FluxBackbone):
    def _layout(self, latents, text):
        layout = super()._layout(latents, text)
        return replace(layout, grid=layout.grid[::-1])


@mutant("patches_are_where_the_layout_says", "is the key at", FLUX)
class TokensInColumns(FluxBackbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents.mT, sigma, batch).mT


@mutant("every_size_works", "a picture that is not square", FLUX)
class GridOnlySquare(FluxBackbone):
    def _layout(self, latents, text):
        return super()._layout(latents[..., : latents.shape[2], : latents.shape[2]], text)


@mutant("the_layout_follows_the_text", "a text of 23 tokens instead of 24", FLUX)
class TextLengthFromALiteral(FluxBackbone):
    def _layout(self, latents, text):
        return super()._layout(latents, 24)


class Careless:
    """Attaches without undoing it after an exception."""

    @contextmanager
    def attach(self, listener: AttentionListener):
        stack = self._stack = ExitStack()
        stack.enter_context(super().attach(listener))
        yield
        stack.close()


@mutant("nothing_remains_after_an_exception", "attaching left behind", SD3)
class StateLeftAfterAnException(Careless, SD3Backbone):
    pass


@mutant("nothing_remains_after_exit", "attaching left behind: attributes", FLUX)
class AttributeLeftBehind(FluxBackbone):
    @contextmanager
    def attach(self, listener):
        self.pipeline.transformer.transformer_blocks[0].attn.steered_by = 1
        with super().attach(listener):
            yield


@mutant("guidance_is_what_it_says", "guidance 3.0 is off", FLUX)
class GuidanceTwice(FluxBackbone):
    def velocity(self, latents, sigma, rows):
        return super().velocity(latents, sigma, [replace(row, guidance=row.guidance**2) for row in rows])


@mutant("the_model_is_left_alone", "a velocity has changed weights", FLUX)
class WeightsNudged(FluxBackbone):
    def predict(self, latents, sigma, batch):
        self.pipeline.transformer.x_embedder.bias += 1e-6
        return super().predict(latents, sigma, batch)


@mutant("everything_it_is_told_matters", "the noise level σ does not matter", SD3)
class NoiseLevelIgnored(SD3Backbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, 0.5, batch)


@mutant("words_are_at_their_positions", "changes position 3 most and 3 first", OVIS)
class WordsOnTheOtherSide(OvisImageBackbone):
    def text_parts(self):
        return [replace(part, padded_left=True) for part in super().text_parts()]


@mutant("words_are_at_their_positions", "is said to be at", SD3)
class WordsShiftedByOne(SD3Backbone):
    def encode_prompts(self, texts):
        prompts = super().encode_prompts(texts)
        return [
            replace(prompt, tokens=tuple(replace(token, position=token.position - 1) for token in prompt.tokens))
            for prompt in prompts
        ]


@mutant("a_prompt_that_is_too_long_is_refused", "without a word", FLUX)
class PromptsCutSilently(FluxBackbone):
    def encode_prompts(self, texts):
        return super().encode_prompts([" ".join(text.split()[:8]) for text in texts])


@mutant("marks_are_not_read", "'a [red] cat' is not that of 'a red cat'", SD3)
class MarksRead(SD3Backbone):
    def encode_prompts(self, texts):
        return super().encode_prompts([text.replace("[", r"\[") for text in texts])


@mutant("nothing_is_heard_outside_a_velocity", "outside `velocity`", FLUX)
class HeardWhileDecoding(FluxBackbone):
    @contextmanager
    def attach(self, listener):
        self._heard_by = listener
        with super().attach(listener):
            yield
        del self._heard_by

    def decode(self, latents):
        if hasattr(self, "_heard_by"):
            self._heard_by.begin_forward((), self._layout(latents, 1))
        return super().decode(latents)


@mutant("rows_are_independent", "row 0 of three differs", SD3)
class RowsMixed(SD3Backbone):
    def predict(self, latents, sigma, batch):
        velocity = super().predict(latents, sigma, batch)
        return velocity + 1e-3 * velocity.mean(dim=0, keepdim=True)


@mutant("a_velocity_is_a_function", "global random generator", FLUX)
class GlobalNoise(FluxBackbone):
    def predict(self, latents, sigma, batch):
        return super().predict(latents, sigma, batch) + 1e-6 * torch.randn(latents.shape)


@mutant("batch_size_tells_the_rows", "`batch_size` is 2, and events carry 4", SD3)
class GuidanceNotCounted(SD3Backbone):
    def batch_size(self, rows):
        return len(batch_rows(rows, guided=False))


@mutant("a_second_listener_is_refused", "a second listener is taken", FLUX)
class SecondListenerTaken(FluxBackbone):
    _depth = 0

    @contextmanager
    def attach(self, listener):
        if self._depth:
            yield
            return
        self._depth += 1
        try:
            with super().attach(listener):
                yield
        finally:
            self._depth -= 1


class Between(AttentionListener):
    """Stands between the adapter and its listener."""

    def __init__(self, listener: AttentionListener):
        self.listener = listener

    @property
    def step_info(self):
        return self.listener.step_info

    def begin_forward(self, rows, layout: TokenLayout):
        self.listener.begin_forward(rows, layout)

    def attention(self, event: JointAttention):
        return self.listener.attention(event)

    def text(self, stream):
        return self.listener.text(stream)


class Through:
    """Attaches a listener that stands between."""

    between: type[Between]

    def attach(self, listener):
        return super().attach(self.between(listener))


class Deaf(Between):
    def attention(self, event):
        output = event.attend()
        super().attention(event)
        return output


@mutant("the_listeners_answer_goes_on", "a changed output at transformer_blocks.0.attn changes nothing", FLUX)
class AnswerIgnored(Through, FluxBackbone):
    between = Deaf


class TextDeaf(Between):
    def text(self, stream):
        super().text(stream)
        return stream.hidden


@mutant("the_text_stream_enters_the_block", "changes its keys at []", SD3)
class TextStreamIgnored(Through, SD3Backbone):
    between = TextDeaf


class Keeping(Between):
    kept: list[JointAttention] = []  # noqa: RUF012

    def attention(self, event):
        self.kept.append(event)
        return super().attention(event)


@mutant("events_are_freed", "are still alive", SD3)
class EventsKept(Through, SD3Backbone):
    between = Keeping


class TokensFirst(Between):
    def attention(self, event):
        wrong = (tensor.mT for tensor in (event.query, event.key, event.value))
        said = event.site, event.layout, event.rows, event.step_info
        return super().attention(JointAttention(*said, *wrong, lambda *_: event.attend()))


@mutant("events_have_the_declared_shapes", "not [rows, heads, tokens, channels]", SD3)
class ChannelsBeforeTokens(Through, SD3Backbone):
    between = TokensFirst


class Unscaled(Between):
    def attention(self, event):
        event.scale *= 2
        return super().attention(event)


@mutant("attention_is_the_softmax", "is off by", FLUX)
class ScaleWrong(Through, FluxBackbone):
    between = Unscaled


@mutant("the_time_grid_falls_to_zero", "the grid begins at", SD3)
class GridOfModelTime(SD3Backbone):
    def sigmas(self, steps, width, height):
        return 1000 * super().sigmas(steps, width, height)


@mutant("encoding_is_a_function_of_each_picture", "global random generator", SD3)
class LatentsSampled(SD3Backbone):
    def encode_image(self, pixels):
        latents = super().encode_image(pixels)
        return latents + 1e-3 * torch.randn(latents.shape)


@mutant("a_fingerprint_tells_weights_by_content", "the same after a change of backbone.pipeline.vae", FLUX)
class TransformerFingerprinted(FluxBackbone):
    def fingerprint(self):
        return fingerprint(tensors_of(self.pipeline.transformer))


@mutant("a_fingerprint_tells_weights_by_content", "another backbone with the same weights", SD3)
class IdentityFingerprinted(SD3Backbone):
    def fingerprint(self):
        return f"{id(self.pipeline):016x}"


@mutant("patches_are_where_the_layout_says", "is the key at", KONTEXT)
class ReferenceAndNewPictureSwapped(KontextBackbone):
    def _layout(self, latents, text, *references):
        layout = super()._layout(latents, text, *references)
        [reference] = layout.references
        start, length = layout.image.start, reference.tokens.stop - reference.tokens.start
        swapped = ReferenceTokens(slice(start, start + length), reference.grid)
        return replace(layout, image=slice(start + length, reference.tokens.stop), references=(swapped,))


@mutant("reference_pictures_are_where_the_layout_says", "are rows and columns swapped?", KONTEXT)
class GridOfTheReferenceTransposed(KontextBackbone):
    def _layout(self, latents, text, *references):
        layout = super()._layout(latents, text, *references)
        turned = tuple(ReferenceTokens(own.tokens, own.grid[::-1]) for own in layout.references)
        return replace(layout, references=turned)


@mutant("reference_pictures_are_where_the_layout_says", "0 groups of tokens for 1 reference pictures", KONTEXT)
class ReferenceCountedAsImage(KontextBackbone):
    def _layout(self, latents, text, *references):
        layout = super()._layout(latents, text, *references)
        image = slice(layout.image.start, layout.length)
        return replace(layout, image=image, grid=(image.stop - image.start, 1), references=())


@mutant("each_reference_picture_matters", "reference picture 0 does not matter to the conditional branch", KONTEXT)
class ReferenceBlank(KontextBackbone):
    def predict(self, latents, sigma, batch):
        blank = [replace(item.row, references=(torch.zeros_like(item.row.references[0]),)) for item in batch]
        return super().predict(latents, sigma, [replace(item, row=row) for item, row in zip(batch, blank, strict=True)])


@mutant("each_row_has_its_own_reference_pictures", "row 1 of two differs", KONTEXT)
class FirstReferenceForAll(KontextBackbone):
    def predict(self, latents, sigma, batch):
        first = batch[0].row.references
        return super().predict(
            latents, sigma, [replace(item, row=replace(item.row, references=first)) for item in batch]
        )


@mutant("generation_with_pictures_is_the_references", "are off by", KONTEXT)
class NegativeWithoutReference(KontextBackbone):
    def predict(self, latents, sigma, batch):
        rows = [
            replace(item.row, references=tuple(0 * each for each in item.row.references))
            if item.cfg_branch == "unconditional"
            else item.row
            for item in batch
        ]
        return super().predict(latents, sigma, [replace(item, row=row) for item, row in zip(batch, rows, strict=True)])


@mutant("prompts_say_whether_they_read_pictures", "`reads_references` is True", KONTEXT)
class ReadsNoPicture(KontextBackbone):
    reads_references = True


@mutant("the_backbone_describes_itself", "`reference-pictures` and `most_references` (0) disagree", KONTEXT)
class ReferencesNotCounted(KontextBackbone):
    most_references = 0

    @property
    def provides(self):
        return super().provides | {"reference-pictures"}


@mutant("reference_pictures_are_where_the_layout_says", "1 groups of tokens for 2 reference pictures", KLEIN)
class SecondReferenceLost(KleinBackbone):
    def references(self, batch):
        return super().references(batch)[:1]

    def _layout(self, latents, text, *references):
        return super()._layout(latents, text, *references[:1])


@mutant("reference_pictures_are_where_the_layout_says", "of reference picture 0 is the key at", KLEIN)
class ReferencesInOtherOrder(KleinBackbone):
    def references(self, batch):
        return super().references(batch)[::-1]


@mutant("generation_with_pictures_is_the_references", "are off by", KLEIN)
class ReferencesShareTheirPlaces(KleinBackbone):
    def predict(self, latents, sigma, batch):
        given = self.pipeline.transformer.forward

        def forward(**named):
            places = named.pop("img_ids")
            return given(**named, img_ids=torch.cat([places[:, :1].clamp(max=10), places[:, 1:]], dim=1))

        self.pipeline.transformer.forward = forward
        try:
            return super().predict(latents, sigma, batch)
        finally:
            del self.pipeline.transformer.forward
