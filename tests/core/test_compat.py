"""PyTorch's private API that the core uses: it is there, and means what it is taken to mean."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from headrouter import compat


def tensors(channels=8):
    return tuple(torch.randn(2, 3, 17, channels) for _ in range(3))


def test_pytorchs_attention_is_what_a_function_mode_sees():
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    assert functional.scaled_dot_product_attention is compat.PRODUCT_ATTENTION
    with Mode():
        functional.scaled_dot_product_attention(*tensors())
    assert compat.PRODUCT_ATTENTION in seen


def test_a_dispatch_mode_sees_what_an_operation_is_made_of():
    seen = []

    class Mode(compat.DispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Mode():
        torch.ones(2, 3).mT @ torch.ones(2, 3)
    assert seen == ["ones", "transpose", "ones", "mm"]


@pytest.mark.parametrize("backend", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
def test_the_chosen_kernel_is_the_one_that_is_allowed(backend):
    with sdpa_kernel(backend):
        assert compat.chosen_kernel(*tensors(), 0.3) == backend.value


def test_flash_on_cpu_gives_what_plain_attention_gives_and_the_log_sum_exp():
    query, key, value = tensors()
    output, log_sum_exp = compat.flash_on_cpu(query, key, value, 0.3)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert torch.equal(output, functional.scaled_dot_product_attention(query, key, value, scale=0.3))
    torch.testing.assert_close(log_sum_exp, (0.3 * query @ key.mT).logsumexp(-1))


@pytest.mark.parametrize("kernel", [compat.flash, compat.efficient, compat.cudnn])
def test_the_kernels_of_a_gpu_take_these_arguments(kernel):
    """With tensors that have shapes alone; their numbers are measured by ``make gpu``."""
    with FakeTensorMode():
        query = torch.empty(2, 3, 32, 64, device="cuda", dtype=torch.bfloat16)
        output, log_sum_exp = kernel(query, query, query, 0.3)
        assert output.shape == query.shape and output.dtype == query.dtype
        assert log_sum_exp.shape[:3] == (2, 3, 32) and log_sum_exp.dtype == torch.float32


def shared_and_unsaved():
    """A model with a module at two paths, a weight at two, buffers that are not saved, and a part that saves itself otherwise."""

    class Own(nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[f"{prefix}scale"] = torch.ones(3)

    norm, model = (
        nn.BatchNorm1d(2),
        nn.ModuleDict({"a": nn.Linear(2, 2), "own": nn.Sequential(Own(2, 2), nn.Linear(2, 2))}),
    )
    norm.register_buffer("unsaved", torch.zeros(1), persistent=False)
    model.update({"b": nn.Sequential(norm, nn.Linear(2, 2)), "c": norm, "d": nn.Linear(2, 2, bias=False)})
    model["d"].weight = model["a"].weight
    model["d"].register_module("nothing", None)
    model["own"].register_buffer("unsaved", torch.zeros(1), persistent=False)
    hooked = nn.Linear(1, 1)
    hooked.register_state_dict_post_hook(
        lambda module, state, prefix, _: state.update({f"{prefix}more": torch.ones(1)})
    )
    hooked.register_buffer("unsaved", torch.zeros(1), persistent=False)
    model["hooked"] = hooked
    return model


def test_a_model_is_walked_once():
    model = shared_and_unsaved()
    assert set(compat.modules_within(model)) == set(model.modules())
    assert len(compat.modules_within(model)) == len(list(model.modules()))


def test_the_first_weight_is_the_first_parameter():
    model = shared_and_unsaved()
    for module in (model, *model.modules(), nn.Sequential(nn.Identity(), nn.Linear(1, 1))):
        assert compat.first_weight(module) is next(module.parameters(), None)


def test_own_weights_are_those_of_the_module_alone():
    model = shared_and_unsaved()
    model["a"].register_parameter("nothing", None)
    for module in model.modules():
        assert [*map(id, compat.own_weights(module))] == [*map(id, module.parameters(recurse=False))]


def test_the_state_of_a_model_is_what_it_saves_and_its_buffers():
    model = shared_and_unsaved()
    expected = {**dict(model.named_buffers()), **model.state_dict(keep_vars=True)}
    found = compat.state_of(model)
    assert found.keys() == expected.keys() and "own.0.scale" in found and "hooked.more" in found
    assert "b.0.unsaved" in found and "c.unsaved" not in found
    assert all(found[name] is expected[name] for name in expected if name not in ("own.0.scale", "hooked.more"))


def test_hooks_are_found_with_their_flags():
    module = nn.Identity()
    assert compat.hooks_of(module) == {} and compat.hook_flags(module) == {}
    before = module.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    after = module.register_forward_hook(lambda *_: None)
    backward = module.register_full_backward_hook(lambda *_: None)
    kept = [number for kind in compat.hooks_of(module).values() for number in kind]
    assert sorted(kept) == sorted(handle.id for handle in (before, after, backward))
    assert compat.hook_flags(module) == {before.id: True}
    for handle in (before, after, backward):
        handle.remove()
    assert compat.hooks_of(module) == {} and compat.hook_flags(module) == {}
