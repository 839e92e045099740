"""Train text encoders and transformer together by flow matching, on velocities from drawings to noise.

``x_σ = (1 − σ)·x₀ + σ·ε`` and the network learns ``dx/dσ = ε − x₀`` with σ from a logit-normal distribution
(arXiv:2403.03206, section 3.1). One caption in ten is replaced by the empty prompt, so classifier-free guidance has
something to compare with.

A backbone of instructions is given the latents of another drawing, too, and learns the velocity to the one that the instruction
asks for. Changes are learnt both ways; one instruction in ten asks for no change, and one in ten is empty, with the change done all
the same.
"""

import dataclasses
import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from headrouter.errors import InvalidInputError
from headrouter_shapes.pipelines.build import INSTRUCTED, ShapesPipeline
from headrouter_shapes.pipelines.prompting import encode_tokens, tokenize, velocity
from headrouter_shapes.training.optimiser import Optimiser, cosine
from headrouter_shapes.training.parallel import Gradients, slices_of
from headrouter_shapes.training.state import refuse_misfit, surroundings
from headrouter_shapes.world.caption import VARIANTS, caption
from headrouter_shapes.world.instruction import Change, instruction, no_change
from headrouter_shapes.world.scene import Scene
from headrouter_shapes.world.vocabulary import SEMANTICS

LARGEST_SEED: Final = 2**32
"""Seeds are below it: from them and the step follow those of PyTorch's generators, which are 64 bits long."""
CAPTION_DROPOUT: Final = 0.1
UNCHANGED: Final = 0.1
"""Share of instructions that ask for no change."""
_AVERAGE_DECAY: Final = 0.99
_TRAINED: Final = ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3")


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """Holds the values that decide a training run; equal recipes give equal weights.

    ``pictures``: how many are seen in all; ``batch``: how many in a step; ``pool``: how many different ones are drawn;
    ``muon_rate``, ``adam_rate``: the learning rates at their highest; ``float32``: whether products are formed in float32, which is
    faster than bfloat16 on a CPU that does not multiply matrices of bfloat16 (AMX); ``emphasis``: how many times as often as the
    others a kind of change is seen, for a backbone of instructions.

    Raises:
        InvalidInputError: a seed or a rate out of its bounds, an emphasis of a kind that there is not, of no
            positive number, or for a backbone of captions.
    """

    backbone: str
    seed: int = 0
    pictures: int = 400_000
    batch: int = 64
    pool: int = 60_000
    muon_rate: float = 0.01
    adam_rate: float = 1e-3
    float32: bool = False
    emphasis: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < LARGEST_SEED:
            raise InvalidInputError(f"`seed` must be from 0 to {LARGEST_SEED - 1}; got {self.seed}.")
        for name in ("muon_rate", "adam_rate"):
            if not 0 <= (rate := getattr(self, name)) < math.inf:
                raise InvalidInputError(f"`{name}` must be a number from 0 on; got {rate}.")
        if self.emphasis and self.backbone != INSTRUCTED:
            raise InvalidInputError(
                f"`emphasis` is for {INSTRUCTED}, which learns changes; got it for {self.backbone}."
            )
        if unknown := set(self.emphasis) - set(SEMANTICS):
            raise InvalidInputError(f"`emphasis` is of {', '.join(SEMANTICS)}; got {', '.join(sorted(unknown))}.")
        if wrong := [f"{kind}={often}" for kind, often in self.emphasis.items() if not 0 < often < math.inf]:
            raise InvalidInputError(f"`emphasis` must be positive; got {', '.join(wrong)}.")

    @property
    def steps(self) -> int:
        """Return the number of optimiser steps."""
        return self.pictures // self.batch


def trained_parts(pipeline: ShapesPipeline) -> dict[str, nn.Module]:
    """Return the parts of a pipeline that flow matching trains, by their name in the pipeline."""
    return {name: getattr(pipeline, name) for name in _TRAINED if getattr(pipeline, name, None) is not None}


def _is_hidden(name: str) -> bool:
    """Return whether a weight is a matrix between hidden units of a transformer block or an encoder layer."""
    return ("blocks." in name or ".layers." in name or ".block." in name) and "relative_attention_bias" not in name


class FlowTraining:
    """Holds a training run: a pipeline, its optimiser, the moving average of its weights and its progress.

    Args:
        pipeline: trained in place.
        recipe: of the run.
        scenes: the pool's scenes; of a backbone of instructions, changes.
        latents: their scaled latents [N, 16, h, w], any floating type, on any device; of changes [N, 32, h, w], source and target.
        device: where to train.
        workers: CPU threads that share a batch, each slice by slice; with more than one, a batch is 2·workers slices.

    Raises:
        InvalidInputError: a batch that cannot be cut into equal slices.
    """

    def __init__(
        self,
        pipeline: ShapesPipeline,
        recipe: Recipe,
        scenes: Sequence[Scene] | Sequence[Change],
        latents: Float[torch.Tensor, "n c h w"],
        device: torch.device,
        workers: int = 1,
    ) -> None:
        self.pipeline, self.recipe, self.scenes, self.latents, self.device = pipeline, recipe, scenes, latents, device
        self.workers = workers
        self.parts = nn.ModuleDict(trained_parts(pipeline))
        self.start = _digest(self.parts.state_dict().values())
        self.parts.to(device)
        self.parts.train()
        self.optimiser = Optimiser(
            self.parts.named_parameters(),
            _is_hidden,
            muon_rate=recipe.muon_rate,
            adam_rate=recipe.adam_rate,
            workers=workers,
        )
        self.gradients = Gradients(list(self.parts.parameters()), workers)
        self.slices = slices_of(recipe.batch, workers)
        self.shares = self._shares() if recipe.emphasis else None
        self.average = {name: weight.detach().clone() for name, weight in self.parts.named_parameters()}
        self.step = 0

    def advance(self) -> float:
        """Take one step and return its loss: the mean squared error of the velocity.

        Pictures, wordings, noise and noise levels of a step depend on the seed and the step alone.
        """
        recipe = self.recipe
        choice = np.random.default_rng((recipe.seed, self.step))
        rows = choice.choice(len(self.scenes), size=recipe.batch, p=self.shares)
        variants = choice.integers(VARIANTS, size=recipe.batch)
        dropped = choice.random(recipe.batch) < CAPTION_DROPOUT
        clean = self.latents[torch.as_tensor(rows, device=self.latents.device)].to(self.device, torch.float32)
        reference = None
        if recipe.backbone == INSTRUCTED:
            turned, kept = choice.random(recipe.batch) < 0.5, choice.random(recipe.batch) < UNCHANGED
            reference, clean = _pairs(clean, turned, kept)
            said = [self._instruction(*chosen) for chosen in zip(rows, variants, turned, kept, strict=True)]
        else:
            said = [self._caption(row, variant) for row, variant in zip(rows, variants, strict=True)]
        prompts = ["" if drop else text for text, drop in zip(said, dropped, strict=True)]
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float32, device="cpu").to(self.device)
        sigma = torch.sigmoid(torch.randn(recipe.batch, generator=generator, dtype=torch.float32, device="cpu")).to(
            self.device
        )
        clip, t5 = (tokens.to(self.device) for tokens in tokenize(self.pipeline, prompts))
        every = [clean, noise, sigma, clip, t5, *([] if reference is None else [reference])]
        parts = list(zip(*(whole.chunk(self.slices) for whole in every), strict=True))
        loss = self.gradients(lambda number: self._loss(*parts[number]), len(parts))
        self.optimiser.step(cosine(self.step, recipe.steps))
        decay = min(_AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        weights = [weight.detach() for weight in self.parts.parameters()]
        average_into = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average_into(list(self.average.values()), weights, 0)
        self.step += 1
        return loss

    def _shares(self) -> npt.NDArray[np.float64]:
        """Return how often each change of the pool is seen, as shares of all."""
        often = np.array(
            [self.recipe.emphasis.get(change.kind, 1.0) for change in self.scenes if isinstance(change, Change)]
        )
        shares: npt.NDArray[np.float64] = often / often.sum()
        return shares

    def _caption(self, row: int, variant: int) -> str:
        scene = self.scenes[row]
        assert isinstance(scene, Scene), "a caption is of a scene"
        return caption(scene, int(variant))

    def _instruction(self, row: int, variant: int, turned: bool, kept: bool) -> str:
        change = self.scenes[row]
        assert isinstance(change, Change), "an instruction is of a change"
        return no_change(int(variant)) if kept else instruction(change.turned if turned else change, int(variant))

    def _loss(
        self,
        clean: torch.Tensor,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        clip: torch.Tensor,
        t5: torch.Tensor,
        reference: torch.Tensor | None = None,
    ) -> torch.Tensor:
        noisy = torch.lerp(clean, noise, sigma[:, None, None, None])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=not self.recipe.float32, cache_enabled=False):
            encoded = encode_tokens(self.pipeline, clip, t5)
            predicted = velocity(self.pipeline, noisy, sigma, encoded, reference)
        return functional.mse_loss(predicted.float(), noise - clean)

    @torch.no_grad()
    def swap_average(self) -> None:
        """Exchange the weights with their moving average; calling it twice changes nothing."""
        for name, weight in self.parts.named_parameters():
            kept = weight.detach().clone()
            weight.copy_(self.average[name])
            self.average[name].copy_(kept)

    def _identity(self) -> dict[str, Any]:
        """Return the recipe, hashes of the latents and of the weights at the start, and the surroundings."""
        hashes = {"latents": _digest([self.latents]), "start": self.start}
        return {**dataclasses.asdict(self.recipe), **hashes, **surroundings(self.device, self.workers)}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing the run needs: the run's own tensors, to be written before it goes on."""
        return {
            "recipe": self._identity(),
            "step": self.step,
            "weights": self.parts.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], may_differ: Collection[str] = ("pictures",)) -> None:
        """Continue the run that ``state`` came from; only the settings of ``may_differ`` may be others.

        Raises:
            WeightsError: the checkpoint is of another configuration, kind or version; nothing is changed.
        """
        ours = {**self.state_dict(), "optimiser": self.optimiser.layout()}
        theirs = state.get("recipe")
        if isinstance(theirs, dict):
            ours["recipe"].update({name: theirs[name] for name in may_differ if name in theirs})
        refuse_misfit(ours, state, "recipe")
        self.start = ours["recipe"]["start"]
        self.parts.load_state_dict(state["weights"])
        for name, weight in state["average"].items():
            self.average[name].copy_(weight)
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def _digest(tensors: Iterable[torch.Tensor]) -> str:
    """Return the beginning of a hash of the tensors' bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _pairs(
    latents: Float[torch.Tensor, "b two_c h w"], turned: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_]
) -> tuple[Float[torch.Tensor, "b c h w"], Float[torch.Tensor, "b c h w"]]:
    """Return the reference of each change and the latents to reach, turned round or kept as chosen."""
    source, target = latents.chunk(2, dim=1)
    back, still = (torch.as_tensor(one, device=latents.device)[:, None, None, None] for one in (turned, kept))
    reference = torch.where(back, target, source)
    return reference, torch.where(still, reference, torch.where(back, source, target))
