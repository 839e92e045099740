"""Start one backbone from another: copy the weights that both have, leave the rest fresh.

The three backbones read the same captions, patches and noise levels, and what a trained one knows of those need not be learned
again. How far ahead that puts a model depends on how much they share: docs/shapes.md has the figures.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from torch import nn

from headrouter.errors import WeightsError
from headrouter_shapes.pipelines.build import ShapesPipeline
from headrouter_shapes.pipelines.prompting import encode_prompts, velocity
from headrouter_shapes.pipelines.sampling import encode_pictures, starting_noise
from headrouter_shapes.training.flow import trained_parts
from headrouter_shapes.world.caption import caption
from headrouter_shapes.world.pool import draw, training_scenes

Weights: TypeAlias = dict[str, torch.Tensor]

_NORMS: Final = {"norm_q": "to_q", "norm_k": "to_k", "norm_added_q": "add_q_proj", "norm_added_k": "add_k_proj"}
_PICTURES: Final = 32


@contextmanager
def _sizes_before_norms(transformer: nn.Module) -> Iterator[dict[str, list[float]]]:
    """Collect the root mean square of the input of each query or key norm, within a context."""
    sizes: dict[str, list[float]] = {}

    def listen(path: str) -> torch.utils.hooks.RemovableHandle:
        def note(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            sizes.setdefault(path, []).append(float(inputs[0].square().mean().sqrt()))

        return transformer.get_submodule(path).register_forward_pre_hook(note)

    handles = [listen(path) for path, _ in transformer.named_modules() if path.rpartition(".")[2] in _NORMS]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def without_norms(pipeline: ShapesPipeline) -> Weights:
    """Return the transformer's weights with each query and key norm folded into the projection before it.

    A root-mean-square norm multiplies by gain / rms. The rms of a trained model varies little, so its mean over a few
    pictures stands for it. Norms themselves are left out. Nothing changes for a transformer without them.
    """
    scenes = training_scenes(0, 0, _PICTURES)
    latents = encode_pictures(pipeline, draw(0, 0, _PICTURES))
    levels = torch.linspace(0.05, 1.0, _PICTURES, dtype=torch.float32, device="cpu")
    noisy = torch.lerp(latents, starting_noise(0, _PICTURES), levels[:, None, None, None])
    with _sizes_before_norms(pipeline.transformer) as sizes:
        velocity(pipeline, noisy, levels, encode_prompts(pipeline, [caption(scene) for scene in scenes]))
    weights = {name: weight.clone() for name, weight in pipeline.transformer.state_dict().items()}
    for path, measured in sizes.items():
        attention, _, norm = path.rpartition(".")
        gain = weights.pop(f"{path}.weight") / (sum(measured) / len(measured))
        for name in (f"{attention}.{_NORMS[norm]}.weight", f"{attention}.{_NORMS[norm]}.bias"):
            heads = weights[name].view(-1, len(gain), *weights[name].shape[1:])
            weights[name] = (heads * gain.view(1, -1, *[1] * (heads.ndim - 2))).flatten(0, 1)
    return weights


def _as_flux(weights: Weights, projection: torch.Tensor) -> Weights:
    """Rename and reorder the weights of an SD3 transformer as Flux has them.

    A patch is a convolution there and a packed vector here; both order it channel, row, column on the way in. On the
    way out SD3 writes row, column, channel. The pooled prompt is the projection of two encoders there, and the first
    one's plain output here, so the first one's ``projection`` [P, C] moves into the layer that reads it.
    """
    moved = dict(weights)
    patch = moved.pop("pos_embed.proj.weight")
    moved["x_embedder.weight"], moved["x_embedder.bias"] = patch.flatten(1), moved.pop("pos_embed.proj.bias")
    for name in ("proj_out.weight", "proj_out.bias"):
        rows = moved[name].view(*patch.shape[2:], -1, *moved[name].shape[1:])
        moved[name] = rows.movedim(2, 0).flatten(0, 2).contiguous()
    reader = "time_text_embed.text_embedder.linear_1.weight"
    moved[reader] = moved[reader][:, : len(projection)] @ projection
    return moved


@torch.no_grad()
def with_more_words(trained: ShapesPipeline, fresh: ShapesPipeline) -> None:
    """Copy all weights of a trained pipeline into ``fresh``, whose tokenizers know more words.

    Embeddings follow the tokens that both have; those of new words stay fresh.
    """
    fresh.transformer.load_state_dict(trained.transformer.state_dict())
    pairs = (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"))
    for encoder, tokenizer in pairs:
        theirs, ours = getattr(trained, encoder).state_dict(), getattr(fresh, encoder).state_dict()
        known, words = getattr(trained, tokenizer).get_vocab(), getattr(fresh, tokenizer).get_vocab()
        places = [(words[token], known[token]) for token in words if token in known]
        for name, weight in ours.items():
            if weight.shape == theirs[name].shape:
                weight.copy_(theirs[name])
            else:
                to, there = (torch.tensor(each, dtype=torch.long, device="cpu") for each in zip(*places, strict=True))
                weight[to] = theirs[name][there]


@torch.no_grad()
def transplant(trained: ShapesPipeline, fresh: ShapesPipeline) -> float:
    """Copy usable weights of a trained SD3 or SD3.5 pipeline into ``fresh``; return their share.

    T5 goes to T5, CLIP to CLIP. Of the transformer go all weights of the same name and size; the modulation of a dual
    block without its last third, which moves a second attention, to a block that has none; :func:`without_norms` to a
    backbone without query and key norms; to Flux what :func:`_as_flux` says.

    Raises:
        WeightsError: ``trained`` is a Flux pipeline; nothing is copied.
    """
    if isinstance(trained, FluxPipeline | FluxKontextPipeline):
        raise WeightsError("`--start-from` must be a pipeline of the same backbone, or of sd3 or sd3.5; got flux.")
    normed = any("norm_q" in name for name in fresh.transformer.state_dict())
    weights: Weights = trained.transformer.state_dict() if normed else without_norms(trained)
    pairs = [(trained.text_encoder, fresh.text_encoder)]
    if isinstance(fresh, FluxPipeline | FluxKontextPipeline):
        weights = _as_flux(weights, trained.text_encoder.text_projection.weight)
        pairs.append((trained.text_encoder_3, fresh.text_encoder_2))
    else:
        pairs += [(trained.text_encoder_2, fresh.text_encoder_2), (trained.text_encoder_3, fresh.text_encoder_3)]
    copied = total = 0
    for theirs, part in [(weights, fresh.transformer), *((theirs.state_dict(), ours) for theirs, ours in pairs)]:
        for name, weight in part.state_dict().items():
            total += weight.numel()
            found = theirs.get(name)
            if found is not None and ".norm1.linear." in name:
                found = found[: len(weight)]
            if found is not None and found.shape == weight.shape:
                weight.copy_(found)
                copied += weight.numel()
    return copied / total


def start_from(released: ShapesPipeline, fresh: ShapesPipeline) -> None:
    """Copy the weights of a released pipeline, or of a sibling what both have, into a fresh one.

    A Flux pipeline of captions starts one of instructions: all its weights, and the embeddings of the words that it knows.

    Raises:
        WeightsError: a pipeline that ``fresh`` can use nothing of; nothing is copied.
    """
    theirs, ours = trained_parts(released), trained_parts(fresh)

    def sizes(parts: Mapping[str, nn.Module]) -> dict[tuple[str, str], torch.Size]:
        return {(name, key): w.shape for name, part in parts.items() for key, w in part.state_dict().items()}

    if sizes(theirs) == sizes(ours):
        for name, part in ours.items():
            part.load_state_dict(theirs[name].state_dict())
    elif isinstance(fresh, FluxKontextPipeline) and isinstance(released, FluxPipeline):
        with_more_words(released, fresh)
    else:
        print(f"started from a sibling: {transplant(released, fresh):.0%} of the weights", file=sys.stderr)
