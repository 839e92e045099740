"""Check the fingerprint, by which a kept inversion or a record knows its weights."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from headrouter.models.fingerprint import modules_of
from headrouter.testing.check import check, collect, expect
from headrouter.testing.subjects import BackboneSubject


@check(since="0.1")
def a_fingerprint_tells_weights_by_content(subject: BackboneSubject) -> None:
    """`fingerprint()` is the same for the same weights, and differs when a single weight has changed.

    If this fails: leave `fingerprint` as `Backbone` has it, which reads every torch module among the backbone's attributes and
    theirs; or cover the weights of every model that edits depend on, and neither places nor identities.
    """
    backbone = subject.build()
    whole = backbone.fingerprint()
    expect(backbone.fingerprint() == whole, "the fingerprint differs from call to call")
    expect(subject.build().fingerprint() == whole, "another backbone with the same weights has another fingerprint")
    for path, module in modules_of(backbone).items():
        for name, tensor in _first_and_last(module):
            place = (-1,) * tensor.ndim
            before = tensor[place].clone()
            try:
                tensor[place] = 0 if before else 1
                expect(backbone.fingerprint() != whole, f"the fingerprint is the same after a change of {path}.{name}")
            finally:
                tensor[place] = before
    expect(backbone.fingerprint() == whole, "the fingerprint is another one when the weights are back as they were")


def _first_and_last(model: Module) -> Iterator[tuple[str, Tensor]]:
    """Return two weights of a model that can be changed in place; quantised ones cannot."""
    plain = {
        name: weight.data
        for name, weight in model.named_parameters()
        if type(weight) in (Tensor, Parameter) and weight.dtype in (torch.float32, torch.bfloat16, torch.float16)
    }
    names = [name for name, weight in plain.items() if weight.numel() and not weight.is_meta]
    for name in dict.fromkeys((*names[:1], *names[-1:])):
        yield name, plain[name]


CHECKS = collect(globals())
