"""Turn one attention operation of a model into a :class:`headrouter.attention.joint_attention.JointAttention` event."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from headrouter.attention.joint_attention import Attend, AttendWithLogSumExp, JointAttention
from headrouter.attention.kernels import Attended
from headrouter.errors import IncompatibleError
from headrouter_diffusers.attention.inference import ordinary
from headrouter_diffusers.attention.running import Forward

Operation = Callable[..., Tensor]
"""Called as ``operation(query=, key=, value=, ...)``."""


WithLogSumExp = Callable[..., Attended]
"""Called as an :data:`Operation`; gives the log-sum-exp too."""


def through_listener(
    forward: Forward,
    operation: Operation,
    arguments: dict[str, Any],
    native: bool,
    with_log_sum_exp: WithLogSumExp | None = None,
) -> Tensor:
    """Run ``operation`` through the listener. Tensors are ``[rows, heads, tokens, channels]``.

    ``with_log_sum_exp`` runs the same kernel; it is left alone where there is more than query, key, value and a scale.
    """
    query, key, value = (arguments.pop(name) for name in ("query", "key", "value"))
    attend: Attend = lambda query, key, value: operation(query=query, key=key, value=value, **arguments)  # noqa: E731
    plain = not any(arguments.get(name) is not None for name in ("attn_mask", "_parallel_config")) and not any(
        arguments.get(name) for name in ("dropout_p", "is_causal", "enable_gqa")
    )
    both: AttendWithLogSumExp | None = None
    if with_log_sum_exp is not None and plain:
        both = lambda query, key, value: with_log_sum_exp(query=query, key=key, value=value, **arguments)  # noqa: E731
    site, layout = forward.attending(query.shape[2], key.shape[2])
    with forward.awaiting(None):
        if site is None:
            return attend(query, key, value)  # a side call, for instance an image prompt's
        if arguments.get("is_causal"):
            raise IncompatibleError(
                f"`pipeline`: {site.path} attends causally, and joint attention looks both ways. Use a model that does."
            )
        forward.fired[site.path] += 1
        event = JointAttention(
            site,
            layout,
            forward.rows,
            forward.listener.step_info,
            query,
            key,
            value,
            attend,
            scale=arguments.get("scale"),
            bias=_four_dimensional(arguments.get("attn_mask")),
            native=native and not arguments.get("dropout_p") and not arguments.get("enable_gqa"),
            with_log_sum_exp=both,
        )
        listener = forward.listener
        with ordinary():
            output = listener.image_attention(event) if site.stream == "image" else listener.attention(event)
    assert output.shape[:3] == query.shape[:3], f"{site.path}: {tuple(output.shape)} for {tuple(query.shape)}"
    return output


def _four_dimensional(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[(None,) * (4 - mask.ndim)] if mask.ndim < 4 else mask
