"""Refuses a guidance at which a prompt that was given would have no effect."""

from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.models.backbone import Backbone


def refuse_idle_prompts(backbone: Backbone, guidance: float, negative_prompt: str = "") -> None:
    """Refuse a prompt, or a negative prompt, that the model would not be evaluated with.

    In two passes v = v_negative + guidance · (v_prompt − v_negative), so the prompt has no weight at 0, and the negative one none
    at 1. A model with embedded guidance is given the number and always the prompt.

    Args:
        backbone: The model.
        guidance: Of the rows that the prompts belong to, as the inversion sets it.
        negative_prompt: As the user gave it; empty if not.

    Raises:
        InvalidInputError: ``guidance`` 0 in two passes, or any but 1 of a model without guidance.
        IncompatibleError: a negative prompt without a pass of its own.
    """
    if "guidance" not in backbone.provides and guidance != 1:
        raise InvalidInputError(
            f"`guidance` {guidance:g} would have no effect: {backbone.name} is distilled to do without guidance. Leave it out."
        )
    two_passes = "negative-prompt" in backbone.provides
    if two_passes and guidance == 0:
        raise InvalidInputError(
            "`guidance` 0 would evaluate the negative prompt alone, so that every prompt gave the same picture. What model cards"
            " mean by 0, no guidance, is `guidance=1`."
        )
    if not negative_prompt or (two_passes and guidance != 1):
        return
    if two_passes:
        raise IncompatibleError(
            f"`negative_prompt` {negative_prompt!r} would have no effect: at guidance 1 {backbone.name} evaluates the prompt"
            " alone. Leave it out, or give a `guidance` above 1."
        )
    raise IncompatibleError(
        f"`negative_prompt` {negative_prompt!r} would have no effect: {backbone.name} takes its guidance as a number and"
        " evaluates no negative prompt. Leave it out, or let the backbone guide in two passes where it can"
        " (`guidance_kind='two-pass'` for Flux)."
    )
