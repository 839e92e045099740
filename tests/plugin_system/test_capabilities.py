"""Impossible combinations are refused by name."""

import pytest

from headrouter.capabilities import refuse_incompatible
from headrouter.errors import IncompatibleError
from headrouter.plugin import BackboneSpec, InversionSpec, MethodSpec

BACKBONE = BackboneSpec("flux", "m:C", provides={"flow", "joint"})
INVERSION = InversionSpec("rf", "m:C", requires={"flow"}, provides={"inverts"})


def test_what_fits_is_let_through():
    refuse_incompatible(
        BACKBONE, INVERSION, [MethodSpec("a", "m:C", requires={"joint", "inverts"}), MethodSpec("b", "m:C")]
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            (BackboneSpec("sd1", "m:C"), INVERSION, []),
            "inversion 'rf' needs 'flow', which backbone 'sd1' does not provide; choose another inversion.",
        ),
        (
            (BACKBONE, INVERSION, [MethodSpec("hr", "m:C", requires={"maps", "keys", "flow"})]),
            "method 'hr' needs 'keys' and 'maps', which backbone 'flux' and inversion 'rf' do not provide; "
            "choose another method.",
        ),
        (
            (BackboneSpec("turbo", "m:C", requires={"few-steps"}, provides={"flow"}), INVERSION, []),
            "backbone 'turbo' needs 'few-steps', which inversion 'rf' does not provide; choose another backbone.",
        ),
    ],
)
def test_what_cannot_work_is_refused(parts, message):
    with pytest.raises(IncompatibleError) as caught:
        refuse_incompatible(*parts)
    assert str(caught.value) == message


def test_all_misfits_are_told_at_once():
    methods = [MethodSpec(name, "m:C", requires={name}) for name in "ab"]
    with pytest.raises(IncompatibleError, match=r"'a' needs 'a'.*'b' needs 'b'"):
        refuse_incompatible(BACKBONE, INVERSION, methods)
