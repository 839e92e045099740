"""Check that a pipeline, loaded or given, has the parts that an edit needs, in a usable form."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, get_type_hints

import torch

from headrouter.errors import HeadRouterError, IncompatibleError, reason_of
from headrouter_diffusers import autoencoder, compat
from headrouter_diffusers.components.schedulers import check_scheduler


def refuse_unfit(
    pipeline: Any, which: str, *, optional: Collection[str], packed: int, own_latents: bool = False
) -> None:
    """Check the parts of a pipeline before anything touches them.

    Args:
        pipeline: A diffusers pipeline.
        which: Its name in messages.
        optional: Parts that it can do without, beside those that its class calls optional.
        packed: Number of latents that become one input of the transformer.
        own_latents: Whether the adapter scales latents by itself, not by what the autoencoder is configured with.

    Raises:
        IncompatibleError: a part is missing, or does something else than an edit needs.
    """
    spare = {*optional, *compat.optional_components(pipeline)}
    parts = pipeline.components
    for name, part in parts.items():
        encoder = parts.get(name.replace("tokenizer", "text_encoder"))
        if part is None and (name not in spare or (name.startswith("tokenizer") and encoder is not None)):
            raise IncompatibleError(lacking(which, name, type(pipeline)))
        if part is not None and name.startswith("tokenizer"):
            _check_tokenizer(name, part, encoder, which)
    check_scheduler(pipeline.scheduler, which)
    _check_autoencoder(pipeline, which, own_latents)
    _check_transformer(pipeline, which, packed)


def declared_parts(kind: Any) -> dict[str, type]:
    """Return the classes that a class of pipelines declares for its parts, by name; settings such as a number are none."""
    found = {name: kind for name, kind in get_type_hints(kind.__init__).items() if isinstance(kind, type)}
    return {name: kind for name, kind in found.items() if kind.__module__ != "builtins"}


def lacking(which: str, name: str, kind: type) -> str:
    """Return the sentence that refuses a pipeline without the part ``name``."""
    return (
        f"{which} has no {name!r}, which a {kind.__name__} needs for an edit. Use one that is loaded or saved with it."
    )


def takes_more(transformer: Any) -> bool:
    """Return whether a transformer takes channels beside those of the latents: a mask, a control picture, one to fill in."""
    takes, gives = transformer.config.get("in_channels"), transformer.config.get("out_channels")
    patch = transformer.config.get(
        "patch_size"
    )  # some take patches that were made before, and tell channels without them
    return gives is not None and takes not in (gives, gives * patch**2 if type(patch) is int else gives)


def edits_by_itself(pipeline: Any) -> bool:
    """Return whether a pipeline gives its model a picture beside the noise: it takes one, and no strength of noise on it."""
    takes = signature(type(pipeline).__call__).parameters
    return "image" in takes and "strength" not in takes


@contextmanager
def blaming(which: str, what: str) -> Iterator[None]:
    """Turn an error of a pipeline's own code into a sentence on what the pipeline cannot do.

    Raises:
        IncompatibleError: it fails for another reason than too little memory.
    """
    try:
        yield
    except (HeadRouterError, Warning, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise IncompatibleError(
            f"{which} cannot {what}: its own code fails with {reason_of(error)}. Use the configuration"
            " that the model was released with."
        ) from error


def _check_transformer(pipeline: Any, which: str, packed: int) -> None:
    transformer, configuration = pipeline.transformer, pipeline.vae.config
    latents = configuration.get("latent_channels", configuration.get("z_dim"))
    takes, gives = transformer.config.get("in_channels"), transformer.config.get("out_channels")
    if takes_more(transformer):
        raise IncompatibleError(
            f"{which} has a transformer that takes {takes} channels and gives {gives}: it is made to fill in, or to follow a"
            " control picture, which an edit has none of. Use the text-to-image weights of the same family."
        )
    if takes != packed * latents:
        raise IncompatibleError(
            f"{which} has a transformer of {takes} channels and an autoencoder of {latents}, of which {packed} make one of"
            " the transformer's: they do not belong together. Use parts of one model."
        )
    processors = getattr(transformer, "attn_processors", {}).values()
    projections = (getattr(transformer, name, None) for name in ("encoder_hid_proj", "image_proj"))
    if any(part is not None for part in projections) or any("IPAdapter" in type(one).__name__ for one in processors):
        raise IncompatibleError(
            f"{which} carries an IP-Adapter, which needs a picture beside the prompt, and an edit gives it none. Call"
            " `pipeline.unload_ip_adapter()`."
        )


def _check_autoencoder(pipeline: Any, which: str, own_latents: bool) -> None:
    vae: Any = compat.uncompiled(pipeline.vae)
    wanted: Any = declared_parts(type(pipeline))["vae"]
    if not isinstance(vae, wanted):
        raise IncompatibleError(
            f"{which} has a {type(vae).__name__} as its 'vae', which cannot take a picture to the latents that the model"
            f" was trained on. Use the {wanted.__name__} of the model."
        )
    if own_latents or autoencoder.patches(vae) > 1 or _scaled_by_channel(vae, which):
        return
    scale, shift = vae.config.get("scaling_factor"), vae.config.get("shift_factor") or 0.0
    numbers = all(type(value) in (int, float) and math.isfinite(value) for value in (scale, shift))
    if not numbers or scale <= 0:
        raise IncompatibleError(
            f"{which} has a 'vae' whose `scaling_factor` must be a number above 0 and `shift_factor` a number or none, got"
            f" {scale!r} and {shift!r}. Use the configuration that the model was released with."
        )


def _scaled_by_channel(vae: Any, which: str) -> bool:
    """Return whether each channel of latents has a mean and a deviation of its own; refused where they cannot be."""
    mean, deviation = (vae.config.get(name) for name in ("latents_mean", "latents_std"))
    if mean is None or vae.config.get("scaling_factor") is not None:
        return False
    count = vae.config.get("latent_channels", vae.config.get("z_dim"))
    whole = (
        isinstance(mean, list | tuple) and isinstance(deviation, list | tuple) and len(mean) == len(deviation) == count
    )
    numbers = whole and all(type(value) in (int, float) and math.isfinite(value) for value in (*mean, *deviation))
    if not numbers or min(deviation) <= 0:
        raise IncompatibleError(
            f"{which} has a 'vae' whose `latents_mean` and `latents_std` must be {count} numbers each, those of the latter above 0."
            " Use the configuration that the model was released with."
        )
    return True


def _check_tokenizer(name: str, tokenizer: Any, encoder: Any, which: str) -> None:
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor, which prepares pictures too
    length = getattr(tokenizer, "model_max_length", None)
    if not isinstance(length, int | float) or not length >= 2 or getattr(tokenizer, "pad_token", None) is None:
        raise IncompatibleError(
            f"{which} has a {name!r} that must have a padding token and a `model_max_length` of at least 2, got"
            f" {getattr(tokenizer, 'pad_token', None)!r} and {length!r}. Use the configuration that it was released with."
        )
    configuration = getattr(encoder, "config", None)
    end, own = getattr(configuration, "eos_token_id", None), getattr(tokenizer, "eos_token_id", None)
    if str(getattr(configuration, "model_type", "")).startswith("clip") and end not in (2, own):  # 2: an old convention
        raise IncompatibleError(
            f"{which} has a text encoder that pools a prompt at token {end!r}, where its {name!r} ends one with {own!r}. Use"
            " both of one model."
        )
    known = getattr(getattr(encoder, "config", None), "vocab_size", None)
    largest = max(tokenizer.get_vocab().values(), default=0) if known else 0
    if known and not largest < known:
        raise IncompatibleError(
            f"{which} has a {name!r} with token {largest}, and its text encoder knows {known} tokens: they do not belong"
            " together. Use both of one model."
        )
