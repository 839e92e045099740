"""Train the autoencoder that the three models share."""

from typing import Any, Final

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch.nn import functional

from headrouter_shapes.pipelines.autoencoder import DOWNSAMPLING, LATENT_CHANNELS
from headrouter_shapes.training.optimiser import Optimiser, cosine
from headrouter_shapes.training.parallel import Gradients
from headrouter_shapes.training.state import refuse_misfit, surroundings
from headrouter_shapes.world.pool import draw

_KL_WEIGHT: Final = 1e-4
_CROP: Final = 32
_CROPPED_SHARE: Final = 0.75


def busy_crops(pictures: Float[torch.Tensor, "b 3 h w"], generator: torch.Generator) -> Float[torch.Tensor, "b 3 c c"]:
    """Cut one 32×32 window from each picture, more often where there is something to see."""
    windows = pictures.unfold(2, _CROP, 8).unfold(3, _CROP, 8)
    places = windows.shape[3]
    interest = windows.var(dim=(-1, -2)).sum(dim=1).flatten(1) + 0.01
    chosen = torch.multinomial(interest, 1, generator=generator)[:, 0]
    return torch.stack([windows[row, :, place // places, place % places] for row, place in enumerate(chosen.tolist())])


class AutoencoderTraining:
    """Trains the autoencoder on squared and absolute error, and a whisper of KL.

    The first three quarters of the steps see crops, which hold more drawing and less paper; the rest whole pictures.
    Pictures and noise of a step depend on the seed and the step alone, so a resumed run equals an uninterrupted one.
    """

    def __init__(self, autoencoder: AutoencoderKL, *, seed: int, steps: int, batch: int = 48, workers: int = 1) -> None:
        self.autoencoder, self.seed, self.steps, self.batch = autoencoder, seed, steps, batch
        self.optimiser = Optimiser(
            autoencoder.named_parameters(),
            lambda name: "conv_in" not in name and "conv_out" not in name,
            adam_rate=2e-3,
        )
        self.gradients = Gradients(list(autoencoder.parameters()), workers)
        self.slices, self.workers = 1 if workers == 1 else 2 * workers, workers
        self.step = 0
        autoencoder.train()

    def advance(self) -> float:
        """Take one step and return its loss."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        cropped = self.step < _CROPPED_SHARE * self.steps
        pictures = draw(self.seed, self.step * self.batch, self.batch if cropped else self.batch // 2)
        if cropped:
            pictures = busy_crops(pictures, generator)
        side = pictures.shape[-1] // DOWNSAMPLING
        noise = torch.randn(
            len(pictures), LATENT_CHANNELS, side, side, generator=generator, dtype=torch.float32, device="cpu"
        )
        device = self.autoencoder.device
        parts = list(zip(pictures.to(device).chunk(self.slices), noise.to(device).chunk(self.slices), strict=True))
        loss = self.gradients(lambda number: self._loss(*parts[number]), len(parts))
        self.optimiser.step(cosine(self.step, self.steps))
        self.step += 1
        return loss

    def _loss(self, pictures: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        with torch.autocast(pictures.device.type, torch.bfloat16, cache_enabled=False):
            posterior = self.autoencoder.encode(pictures).latent_dist
            decoded = self.autoencoder.decode(posterior.mean + posterior.std * noise).sample.float()
        mean, variance, log_variance = (part.float() for part in (posterior.mean, posterior.var, posterior.logvar))
        kl = 0.5 * (mean.square() + variance - 1.0 - log_variance).mean()
        error: torch.Tensor = functional.mse_loss(decoded, pictures) + 0.1 * functional.l1_loss(decoded, pictures)
        loss: torch.Tensor = error + _KL_WEIGHT * kl
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing the run needs: the run's own tensors, to be written before it goes on."""
        return {
            "run": {
                "seed": self.seed,
                "steps": self.steps,
                "batch": self.batch,
                **surroundings(self.autoencoder.device, self.workers),
            },
            "step": self.step,
            "weights": self.autoencoder.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the run that ``state`` came from.

        Raises:
            WeightsError: it is another run's, or of another kind or version; nothing is changed.
        """
        refuse_misfit({**self.state_dict(), "optimiser": self.optimiser.layout()}, state, "run")
        self.autoencoder.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
