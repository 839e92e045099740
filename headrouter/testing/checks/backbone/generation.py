"""A backbone against an independent implementation: whole generations, short ones and one of more than ten steps."""

from torch import Tensor

from headrouter.testing.check import check, collect, expect
from headrouter.testing.hints import hint
from headrouter.testing.probe import QUOTED, distance, euler, filling, needed_pictures, oblong, pictures_for
from headrouter.testing.subjects import BackboneSubject, Generation

CLOSE = 1e-5


@check(since="0.1", requires={"reference"})
def generation_is_the_references(subject: BackboneSubject) -> None:
    """Euler steps over `velocity` and `sigmas` give the latents of the reference, from the same noise, to 1e-5.

    If this fails: what the message names was told from what would make it right; where it names nothing, compare what the
    transformer is given with what the stock pipeline gives it, argument by argument.
    """
    _compare(subject, guidance=3.0, steps=3, negative="the dog", filled=False)
    _compare(subject, guidance=1.0, steps=2, negative="", filled=True)


@check(since="0.2", requires={"reference"})
def a_long_generation_is_the_references(subject: BackboneSubject) -> None:
    """Twelve steps with guidance, of a prompt that fills the limit, give the latents of the reference, to 1e-4.

    If this fails: and short ones pass, what changes during a run is missed: guidance that depends on the noise level, a rescaling
    of it (`combine`), or, with long prompts, what they are cut or filled up to.
    """
    _compare(subject, guidance=4.0, steps=12, negative=QUOTED, filled=True, close=10 * CLOSE)


@check(since="0.4", requires={"reference", "reference-pictures"})
def generation_with_pictures_is_the_references(subject: BackboneSubject) -> None:
    """With reference pictures of other sizes than the new one, latents are those of the reference, to 1e-5.

    If this fails: compare the order of the pictures' tokens, their positions, and how they are encoded, with the stock pipeline's.
    """
    backbone = subject.build()
    for number in sorted({1, min(2, backbone.most_references)}):
        pictures = pictures_for(backbone, number, seed=1)
        _compare(subject, guidance=3.0, steps=3, negative="the dog", filled=False, pictures=pictures)


def _compare(
    subject: BackboneSubject,
    *,
    guidance: float,
    steps: int,
    negative: str,
    filled: bool,
    close: float = CLOSE,
    pictures: tuple[Tensor, ...] = (),
) -> None:
    backbone, reference = subject.build(), subject.reference
    assert reference is not None
    prompt = filling(backbone) if filled else "a photo of a cat"
    given = pictures or needed_pictures(backbone)
    asked = Generation(prompt, negative, guidance, 1, steps, *oblong(backbone), pictures=given)
    wanted, ours = reference(backbone, asked), euler(backbone, asked)
    expect(wanted.shape == ours.shape, f"the reference has {tuple(wanted.shape)}, this backbone {tuple(ours.shape)}")
    off = distance(ours, wanted)
    if not off <= close:
        told = hint(backbone, reference, asked, close)
        expect(
            False,
            f"latents of {steps} steps with guidance {guidance} are off by {off:.1e} from the reference's: {told}",
        )


CHECKS = collect(globals())
