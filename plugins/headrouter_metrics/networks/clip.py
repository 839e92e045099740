"""Embed pictures and texts by CLIP (arXiv:2103.00020), any model in the form of transformers."""

from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headrouter.prompts.marks import without_marks
from headrouter_metrics.networks.files import model_folder, shared
from headrouter_metrics.networks.loading import whole_model

TYPES: Final = ("clip",)
RELEASED: Final = "openai/clip-vit-large-patch14"


def clip_folder(model: str, parameter: str = "model") -> Path:
    """Return the folder of a CLIP model, OpenCLIP's in the form of transformers among them; see :func:`model_folder`."""
    return model_folder(model, parameter, TYPES)


def load_clip(folder: Path, device: torch.device) -> "Clip":
    """Load a CLIP model, or return the one that another metric has loaded."""
    return shared(("clip", folder, str(device)), lambda: Clip(folder, device))


class Clip:
    """Embeds pictures and texts.

    Args:
        folder: Of a ``CLIPModel``, its image processor and tokenizer.
        device: To run on.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        self.device = device
        self._model: Any = whole_model(CLIPModel, folder, device)
        self._processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._longest: int = self._model.config.text_config.max_position_embeddings

    def picture(self, picture: Image.Image) -> Float[Tensor, "1 width"]:
        """Return the embedding of a picture, of length 1."""
        pixels = self._processor(images=picture, return_tensors="pt")["pixel_values"].to(self.device)
        return torch.nn.functional.normalize(self._model.get_image_features(pixels).pooler_output, dim=-1)

    def text(self, text: str, *, keep_end: bool = True) -> Float[Tensor, "1 width"]:
        """Return the embedding of a text, of length 1, without the brackets that mark words.

        Args:
            text: Any length; what the model does not read is cut off.
            keep_end: Keep the end token of a text that is cut, as the model was trained; the published evaluator of PIE-Bench cuts
                that, too.
        """
        plain = without_marks(text).text
        words = self._tokenizer(
            [plain], return_tensors="pt", truncation=keep_end, max_length=self._longest if keep_end else None
        )
        given = {name: words[name][:, : self._longest].to(self.device) for name in ("input_ids", "attention_mask")}
        return torch.nn.functional.normalize(self._model.get_text_features(**given).pooler_output, dim=-1)

    def agreement(self, picture: Image.Image, text: str, *, keep_end: bool = True) -> float:
        """Return 100 times the cosine of the embeddings of a picture and a text."""
        return 100 * cosine(self.picture(picture), self.text(text, keep_end=keep_end))


def cosine(first: Float[Tensor, "1 width"], second: Float[Tensor, "1 width"]) -> float:
    """Return the cosine of two vectors of length 1; 0 where one is 0."""
    return float((first.double() * second.double()).sum())
