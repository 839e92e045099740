"""Define the autoencoder that the three models share.

4× downsampling and 16 channels: a 64×64 picture becomes 16×16 latents, which are 64 image tokens both for the 2×2
patches of SD3 and for the 2×2 packing of FLUX.
"""

from typing import Final

import headrouter_diffusers.quiet  # noqa: F401
import torch
from diffusers import AutoencoderKL

from headrouter_shapes.world.drawing import PICTURE_SIZE
from headrouter_shapes.world.pool import draw

LATENT_CHANNELS: Final = 16
DOWNSAMPLING: Final = 4


def build_autoencoder() -> AutoencoderKL:
    """Return a fresh autoencoder: 0.7 million parameters, latents [B, 16, H/4, W/4]."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=PICTURE_SIZE,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


@torch.no_grad()
def set_latent_scale(autoencoder: AutoencoderKL, *, seed: int, count: int = 2048) -> None:
    """Measure mean and deviation of the latents of training pictures and store them in the configuration.

    ``(latents − shift_factor) · scaling_factor`` then has mean zero and deviation one, which flow matching assumes.
    """
    autoencoder.eval()
    means = [
        autoencoder.encode(draw(seed, start, 64).to(autoencoder.device)).latent_dist.mean
        for start in range(0, count, 64)
    ]
    latents = torch.cat(means).float()
    autoencoder.register_to_config(shift_factor=float(latents.mean()), scaling_factor=float(1.0 / latents.std()))
