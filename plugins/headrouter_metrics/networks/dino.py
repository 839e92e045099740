"""Embed pictures by DINO (arXiv:2104.14294) and DINOv2 (arXiv:2304.07193), in the form of transformers."""

from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headrouter_metrics.networks.files import model_folder, shared
from headrouter_metrics.networks.loading import whole_model

DINO: Final = ("vit",)
DINOV2: Final = ("dinov2", "dinov2_with_registers")


def dino_folder(model: str, parameter: str, types: tuple[str, ...]) -> Path:
    """Return the folder of a model; see :func:`model_folder`."""
    return model_folder(model, parameter, types)


def load_dino(folder: Path, device: torch.device) -> "DinoNetwork":
    """Load a model, or return the one that another metric has loaded."""
    return shared(("dino", folder, str(device)), lambda: DinoNetwork(folder, device))


class DinoNetwork:
    """Gives the class token of a picture, and the keys of the last block.

    Args:
        folder: Of a ``ViTModel``, ``Dinov2Model`` or ``Dinov2WithRegistersModel``; an image processor is needed for class tokens.
        device: To run on.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoConfig, AutoModel, ViTModel

        self.device, self._folder = device, folder
        vit = AutoConfig.from_pretrained(folder, local_files_only=True).model_type == "vit"
        kind, more = (ViTModel, {"add_pooling_layer": False}) if vit else (AutoModel, {})
        self._model: Any = whole_model(kind, folder, device, **more)
        self._options = {"interpolate_pos_encoding": True} if vit else {}
        self._processor: Any = None

    def class_token(self, picture: Image.Image) -> Float[Tensor, "1 width"]:
        """Return the class token after the last norm, of length 1; the picture is prepared as the model's files say."""
        if self._processor is None:
            from transformers import AutoImageProcessor

            self._processor = AutoImageProcessor.from_pretrained(self._folder, local_files_only=True, backend="pil")
        pixels = self._processor(images=picture, return_tensors="pt")["pixel_values"].to(self.device)
        token = self._model(pixel_values=pixels, **self._options).last_hidden_state[:, 0]
        return torch.nn.functional.normalize(token, dim=-1)

    def keys(self, pixels: Float[Tensor, "1 3 height width"]) -> Float[Tensor, "tokens width"]:
        """Return the keys of the last block, heads side by side, class token first."""
        found: list[Tensor] = []
        projections = [
            module for name, module in self._model.named_modules() if name.rpartition(".")[2] in ("k_proj", "key")
        ]
        handle = projections[-1].register_forward_hook(lambda module, given, output: found.append(output))
        try:
            self._model(pixel_values=pixels, **self._options)
        finally:
            handle.remove()
        return found[0][0]
