"""Check attachment: one listener at a time, events within velocities only, and a model left as it was."""

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention, TextStream
from headrouter.errors import IncompatibleError
from headrouter.models.backbone import Backbone
from headrouter.testing.check import check, collect, expect, fail
from headrouter.testing.probe import SIGMA, Recorder, Steering, distance, latents_of, rows_of
from headrouter.testing.snapshot import differences, snapshot
from headrouter.testing.subjects import BackboneSubject


@check(since="0.1")
def nothing_is_heard_outside_a_velocity(subject: BackboneSubject) -> None:
    """While attached, encoding and decoding make no event, and a forward pass begins before its first event.

    If this fails: `begin_forward` comes first, once for each call of the model; text encoders and the autoencoder attend too, and
    are not compared.
    """

    class Strict(Recorder):
        expecting = False

        def attention(self, event: JointAttention) -> Tensor:
            expect(self.expecting, f"an event at {event.site.path} came outside `velocity`")
            expect(self.forwards == self.begun, "an event came before `begin_forward`")
            return super().attention(event)

        begun = 0

    backbone, listener = subject.build(), Strict()
    latents = latents_of(backbone, 2)
    with backbone.attach(listener):
        rows = rows_of(backbone, "a cat", "a dog")
        pixels = backbone.decode(latents)
        if "encode-image" in backbone.provides:
            backbone.encode_image(pixels.clamp(-1, 1))
        expect(not listener.layouts and not listener.streams, "a forward pass began outside `velocity`")
        listener.expecting = True
        for begun in (1, 2):
            listener.begun = begun
            backbone.velocity(latents, SIGMA, rows)
            expect(listener.forwards == begun, f"`begin_forward` came {listener.forwards} times for {begun} velocities")


@check(since="0.1")
def nothing_remains_after_exit(subject: BackboneSubject) -> None:
    """After the context the model is what it was: structure, hooks, processors, weights and velocity; no event is sent.

    If this fails: undo in a `finally` all that attaching does, in reverse order.
    """
    before, listener = _Before(subject.build()), Steering()
    steered = before.with_listener(listener)
    expect(distance(steered, before.velocity) > 1e-5, "a listener that steers changes nothing")
    before.expect_unchanged(listener)


@check(since="0.1")
def nothing_remains_after_an_exception(subject: BackboneSubject) -> None:
    """An exception of the listener, or in the body, leaves the model as it was.

    If this fails: undo in a `finally`, and keep no counters or half-finished forward passes on the model.
    """

    class Failing(Steering):
        broken = True

        def attention(self, event: JointAttention) -> Tensor:
            if self.broken and event.site.index == len(backbone.sites) // 2:
                raise ZeroDivisionError
            return super().attention(event) if self.broken else event.attend()

        def text(self, stream: TextStream) -> Tensor:
            return super().text(stream) if self.broken else stream.hidden

    backbone = subject.build()
    before, listener = _Before(backbone), Failing()
    with suppress(ZeroDivisionError):
        before.with_listener(listener)
        fail("an exception of the listener does not reach the caller of `velocity`")
    before.expect_unchanged(listener)
    with suppress(KeyError), backbone.attach(listener):
        raise KeyError
    before.expect_unchanged(listener)
    with backbone.attach(listener):
        with suppress(ZeroDivisionError):
            before.now()
        listener.broken = False
        again = before.now()
    expect(
        torch.equal(again, before.velocity),
        "after an exception in one forward pass the next one, still attached, is spoilt",
    )


class _Before:
    """Holds a backbone's state and velocity before a listener is attached."""

    def __init__(self, backbone: Backbone):
        self.backbone = backbone
        self.rows, self.latents = rows_of(backbone, "a cat"), latents_of(backbone)
        self.velocity = self.now()
        self.state = snapshot(backbone)

    def now(self) -> Tensor:
        return self.backbone.velocity(self.latents, SIGMA, self.rows)

    def with_listener(self, listener: Recorder) -> Tensor:
        with self.backbone.attach(listener):
            return self.now()

    def expect_unchanged(self, listener: Recorder) -> None:
        left, count = differences(self.state, snapshot(self.backbone)), len(listener.events)
        expect(not left, f"attaching left behind: {left}")
        after = self.now()
        expect(len(listener.events) == count, "a listener still receives events after its context has ended")
        off = distance(after, self.velocity)
        expect(torch.equal(after, self.velocity), f"the velocity differs by {off:.1e} from before")
        try:
            self.with_listener(Recorder())
        except IncompatibleError as error:
            fail(f"a new listener is refused after the context of the last one has ended: {error}")


@check(since="0.1")
def a_second_listener_is_refused(subject: BackboneSubject) -> None:
    """Attaching a second listener raises `IncompatibleError`, and leaves the first one alone.

    If this fails: one model steered by two would be steered wrongly; refuse the second with `IncompatibleError`.
    """
    backbone, first = subject.build(), Recorder()
    rows, latents = rows_of(backbone, "a cat"), latents_of(backbone)
    with backbone.attach(first):
        with suppress(IncompatibleError), backbone.attach(Recorder()):
            fail("a second listener is taken")
        backbone.velocity(latents, SIGMA, rows)
    expect(len(first.events) == len(backbone.sites), "refusing a second listener has made the first one deaf")


@check(since="0.1")
def events_are_freed(subject: BackboneSubject) -> None:
    """The backbone keeps no event alive after its forward pass: attention is large.

    If this fails: look for a list of events, a closure, or a last event kept on the model.
    """

    class Weak(Recorder):
        def attention(self, event: JointAttention) -> Tensor:
            known.append(weakref.ref(event))
            return event.attend()

    backbone, known = subject.build(), list[Callable[[], object]]()
    rows, latents = rows_of(backbone, "a cat"), latents_of(backbone)
    with backbone.attach(Weak()):
        backbone.velocity(latents, SIGMA, rows)
    gc.collect()
    alive = sum(reference() is not None for reference in known)
    expect(not alive, f"{alive} of {len(known)} attention events are still alive after the context has ended")


CHECKS = collect(globals())
