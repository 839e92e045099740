"""A backbone against an independent implementation: whole generations, short ones and one of more than ten steps."""

from headrouter.testing.check import check, collect, expect
from headrouter.testing.hints import hint
from headrouter.testing.probe import QUOTED, distance, euler, filling, oblong
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


def _compare(
    subject: BackboneSubject, *, guidance: float, steps: int, negative: str, filled: bool, close: float = CLOSE
) -> None:
    backbone, reference = subject.build(), subject.reference
    assert reference is not None
    prompt = filling(backbone) if filled else "a photo of a cat"
    asked = Generation(prompt, negative, guidance, 1, steps, *oblong(backbone))
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
