"""Check events: one for every attention, unchanged unless steered, and the listener's answer used by the model."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from headrouter.attention.joint_attention import JointAttention, TextStream
from headrouter.testing.check import check, collect, expect
from headrouter.testing.probe import (
    SIGMA,
    Recorder,
    changed_positions,
    distance,
    latents_of,
    recorded,
    rows_of,
    shaken,
    text_tensors,
    with_tensors,
)
from headrouter.testing.subjects import BackboneSubject


@check(since="0.1")
def sites_are_numbered(subject: BackboneSubject) -> None:
    """`sites` are the joint attention sites, numbered from 0, each with heads and a path of its own.

    If this fails: look at how `sites` is built; an attention over image tokens alone is no joint site.
    """
    sites = subject.build().sites
    expect(bool(sites), "`sites` is empty")
    expect([site.index for site in sites] == list(range(len(sites))), f"indices are {[site.index for site in sites]}")
    expect(len({site.path for site in sites}) == len(sites), f"paths repeat: {[site.path for site in sites]}")
    for site in sites:
        expect(site.heads > 0, f"{site.path} has {site.heads} heads")
        expect(site.stream != "image", f"{site.path} attends among image tokens only, and is listed as a joint site")


@check(since="0.1")
def a_plain_listener_changes_nothing(subject: BackboneSubject) -> None:
    """With a listener that lets everything pass, the velocity is the same to the bit.

    If this fails: `event.attend()` must run the model's own kernel on the tensors that the model gave it, with its mask and
    scale; layouts that are copied or cast on the way change bits. Attaching must not skip or replace a block.
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat", "a dog"), latents_of(backbone, 2)
    plain = backbone.velocity(latents, SIGMA, rows)
    with backbone.attach(Recorder()):
        listened = backbone.velocity(latents, SIGMA, rows)
    expect(
        torch.equal(listened, plain),
        f"the velocity changes by {distance(listened, plain):.1e} when a listener is attached that changes nothing",
    )


@check(since="0.1")
def every_site_is_heard_once_and_in_order(subject: BackboneSubject) -> None:
    """Each forward pass makes one event at each of `sites`, in their order.

    If this fails: `sites` must be in the order in which the model runs them, and an event must carry its own site. A side call
    (an image prompt's attention) is no event.
    """
    backbone = subject.build()
    recorder = recorded(backbone, latents_of(backbone), rows_of(backbone, "a cat"))
    fired = Counter(event.site.path for event in recorder.events)
    declared = [site.path for site in backbone.sites]
    silent = [path for path in declared if not fired[path]]
    expect(not silent, f"declared sites make no event: {', '.join(silent)}")
    expect(set(fired) == set(declared), f"events come from sites not in `sites`: {sorted(set(fired) - set(declared))}")
    several = [path for path, times in fired.items() if times > 1]
    expect(not several, f"sites make more than one event in a forward pass: {', '.join(several)}")
    order = [event.site.index for event in recorder.events]
    expect(order == sorted(order), f"sites are not in the order of execution: their indices fire as {order}")
    expect([event.site for event in recorder.events] == list(backbone.sites), "events carry other sites than `sites`")


@check(since="0.1")
def no_joint_attention_is_missed(subject: BackboneSubject) -> None:
    """Text reaches the image through events alone: blocked there, the text does not matter.

    If this fails: a block attends jointly without an event. Look for a second kind of block, the last block, or a pattern of
    `sites` that matches too little. Text must have no other way into the image within one forward pass.
    """

    class Sealed(Recorder):
        def attention(self, event: JointAttention) -> Tensor:
            output = super().attention(event).clone()
            left_out = (event.layout.text, *event.layout.padding)  # padding is refined with the text
            others = [
                at for at in range(event.layout.length) if not any(part.start <= at < part.stop for part in left_out)
            ]
            query, key, value = (tensor[:, :, others] for tensor in (event.query, event.key, event.value))
            bias = event.bias
            if bias is not None:
                length = event.layout.length
                bias = bias.expand(*bias.shape[:2], length, length)[:, :, others][..., others]
            output[:, :, others] = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=bias, scale=event.scale
            )
            return output

    backbone = subject.build()
    [row], latents = rows_of(backbone, "a cat", guidance=1.0), latents_of(backbone)
    layout = recorded(backbone, latents, [row]).layouts[0]
    names = text_tensors(row.prompt, layout)
    other = with_tensors(row, **{name: shaken(row.prompt.tensors[name]) for name in names})
    plain = [backbone.velocity(latents, SIGMA, [each]) for each in (row, other)]
    expect(distance(*plain) > 1e-5, f"the text tensors {', '.join(names)} do not matter to the velocity")
    with backbone.attach(Sealed()):
        sealed = [backbone.velocity(latents, SIGMA, [each]) for each in (row, other)]
    leak = distance(*sealed)
    expect(
        leak < 1e-6,
        f"text reaches the image past the events (it changes the velocity by {leak:.1e}): a joint site is missing from"
        f" `sites`, which has {', '.join(site.path for site in backbone.sites)}",
    )


@check(since="0.1")
def events_have_the_declared_shapes(subject: BackboneSubject) -> None:
    """Query, key and value are [batch rows, the site's heads, the layout's tokens, channels], in one dtype.

    If this fails: heads come before tokens in an event; a model with [rows, tokens, heads, channels] swaps both. `heads` of a site
    is the number of query heads.
    """
    backbone = subject.build()
    for event in recorded(backbone, latents_of(backbone, 2), rows_of(backbone, "a cat", "a dog")).events:
        wanted = (len(event.rows), event.site.heads, event.layout.length)
        for name in ("query", "key", "value"):
            tensor = getattr(event, name)
            expect(
                tensor.ndim == 4 and tuple(tensor.shape[:3]) == wanted,
                f"{name} at {event.site.path} is {tuple(tensor.shape)}, not [rows, heads, tokens, channels] ="
                f" [{wanted[0]}, {wanted[1]}, {wanted[2]}, ...]",
            )
            expect(tensor.dtype == event.query.dtype, f"{name} at {event.site.path} is {tensor.dtype}")


@check(since="0.1")
def attention_is_the_softmax(subject: BackboneSubject) -> None:
    """`attend()` is softmax(query · key · scale + bias) · value, over the whole sequence.

    If this fails: give the event the scale and the mask that the model's operation gets, and query and key after normalisation and
    rotary embedding.
    """
    backbone = subject.build()
    for event in recorded(backbone, latents_of(backbone), rows_of(backbone, "a cat")).events:
        query, key, value = event.query.float(), event.key.float(), event.value.float()
        logits = query @ key.mT * event.scale
        if event.bias is not None:
            masks = event.bias.dtype == torch.bool
            logits = logits.masked_fill(~event.bias, -torch.inf) if masks else logits + event.bias
        tolerance = 1e-4 if event.query.dtype == torch.float32 else 2e-2
        off = distance(event.attend(), logits.softmax(-1) @ value)
        expect(off < tolerance, f"`attend()` at {event.site.path} is off by {off:.1e}")


@check(since="0.1")
def what_is_assigned_is_used(subject: BackboneSubject) -> None:
    """`attend()` runs on the query, key and value that the event has when it is called.

    If this fails: the kernel given to `JointAttention` must use its arguments, not the tensors of the model's call.
    """

    class Emptied(Recorder):
        def attention(self, event: JointAttention) -> Tensor:
            event.value = torch.zeros_like(event.value)
            output = super().attention(event)
            expect(not output.any(), f"an assigned value is not used at {event.site.path}")
            return output

    backbone = subject.build()
    recorded(backbone, latents_of(backbone), rows_of(backbone, "a cat"), Emptied())


@check(since="0.1")
def the_listeners_answer_goes_on(subject: BackboneSubject) -> None:
    """The model goes on with the output that the listener returns, at every site.

    If this fails: return the listener's answer to the model, at each site, and not the output of the kernel.
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat"), latents_of(backbone)
    plain = backbone.velocity(latents, SIGMA, rows)
    for site in backbone.sites:
        image = _with_output(
            backbone.sites[site.index].index, lambda event, output: _scaled(output, event.layout.image)
        )
        with backbone.attach(image):
            velocity = backbone.velocity(latents, SIGMA, rows)
        expect(distance(velocity, plain) > 1e-6, f"a changed output at {site.path} changes nothing")


@check(since="0.1")
def text_output_is_declared(subject: BackboneSubject) -> None:
    """The output of text queries matters at the sites whose `text_output` says so, and at no other.

    If this fails: set `Site.text_output` to False where the model discards the text's output, as in most last blocks.
    """
    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat", guidance=1.0), latents_of(backbone)
    plain = backbone.velocity(latents, SIGMA, rows)
    for site in backbone.sites:
        with backbone.attach(_with_output(site.index, lambda event, output: _scaled(output, event.layout.text))):
            velocity = backbone.velocity(latents, SIGMA, rows)
        matters = not torch.equal(velocity, plain)
        expect(
            matters == site.text_output, f"{site.path} says text_output={site.text_output}; it {_does(matters)} matter"
        )


def _does(matters: bool) -> str:
    return "does" if matters else "does not"


def _scaled(output: Tensor, where: slice) -> Tensor:
    changed = output.clone()
    changed[:, :, where] *= -2
    return changed


def _with_output(index: int, change: Callable[[JointAttention, Tensor], Tensor]) -> Recorder:
    class Changing(Recorder):
        def attention(self, event: JointAttention) -> Tensor:
            output = super().attention(event)
            return change(event, output) if event.site.index == index else output

    return Changing()


@check(since="0.1", requires={"text-stream"})
def the_text_stream_enters_the_block(subject: BackboneSubject) -> None:
    """`text` is called before each site with its block's text, and the returned text enters the block.

    If this fails: pass the block's own text input, [rows, text tokens, channels], through `AttentionListener.text`, before the
    attention of the same block, and give the block the answer.
    """

    class Changing(Recorder):
        index = -1

        def text(self, stream: TextStream) -> Tensor:
            hidden = super().text(stream)
            if stream.site.index != self.index:
                return hidden
            changed = hidden.clone()
            changed[:, 1] = shaken(changed[:, 1])
            return changed

    backbone = subject.build()
    rows, latents = rows_of(backbone, "a cat", guidance=1.0), latents_of(backbone)
    plain = recorded(backbone, latents, rows)
    sites = [stream.site for stream in plain.streams]
    expect(sites == list(backbone.sites), f"`text` is called at {[site.path for site in sites]}")
    for site in backbone.sites:
        listener = Changing()
        listener.index = site.index
        one, other = plain.events[site.index], recorded(backbone, latents, rows, listener).events[site.index]
        where, wanted = changed_positions(one.key, other.key), one.layout.text.start + 1
        expect(
            where == [wanted], f"changing text token 1 before {site.path} changes its keys at {where}, not [{wanted}]"
        )


CHECKS = collect(globals())
