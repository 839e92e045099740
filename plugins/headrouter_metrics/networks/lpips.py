"""Compute maps of LPIPS, the perceptual distance of arXiv:1801.03924, version 0.1."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from headrouter.errors import InvalidInputError
from headrouter_metrics.networks.features import Net, activations, features
from headrouter_metrics.networks.files import shared

SMALLEST: Final = 32
"""Pixels along the shortest side that all networks accept."""
_MODELS: Final[dict[Net, tuple[str, str]]] = {
    "alex": ("alexnet", "alexnet-*.pth"),
    "vgg": ("vgg16", "vgg16-*.pth"),
    "squeeze": ("squeezenet1_1", "squeezenet1_1-*.pth"),
}
"""Names of torchvision's models and of their files."""
_EPSILON: Final = 1e-8


def lpips_files(net: Net, folder: str, parameter: str) -> tuple[Path, Path]:
    """Return the files of a network and of the weights that LPIPS puts on its channels.

    Args:
        net: Network.
        folder: With torchvision's file of the network; where PyTorch keeps downloads if empty.
        parameter: For messages.

    Raises:
        InvalidInputError: one is not there.
    """
    place = Path(folder).expanduser() if folder else Path(torch.hub.get_dir()) / "checkpoints"
    model, pattern = _MODELS[net]
    found = sorted(place.glob(pattern))
    if len(found) != 1:
        raise InvalidInputError(
            f"`{parameter}` must be a folder with one file {pattern} (got {len(found)} in '{place}'). With torchvision, "
            f"`torchvision.models.{model}(weights='DEFAULT')` downloads it to '{Path(torch.hub.get_dir()) / 'checkpoints'}'."
        )
    package = find_spec("torchmetrics")
    if package is None or package.origin is None:
        raise InvalidInputError(
            "LPIPS needs the package torchmetrics, which has its weights: pip install 'headrouter[metrics]'."
        )
    return found[0], Path(package.origin).parent / "functional" / "image" / "lpips_models" / f"{net}.pth"


def load_lpips(net: Net, files: tuple[Path, Path], device: torch.device) -> "LpipsNetwork":
    """Load a network, or return the one that another metric has loaded."""
    return shared(("lpips", net, files, str(device)), lambda: LpipsNetwork(net, files, device))


class LpipsNetwork:
    """Compares two pictures by the activations of a network.

    Args:
        net: Network.
        files: Of :func:`lpips_files`.
        device: To run on.

    Raises:
        InvalidInputError: the file is damaged, or of another network.
    """

    def __init__(self, net: Net, files: tuple[Path, Path], device: torch.device) -> None:
        self.net, self.device = net, device
        with torch.device("meta"):  # draws no weights
            layers = features(net)
        try:
            state: Any = torch.load(files[0], map_location="cpu", weights_only=True)
            own = {name[9:]: value for name, value in state.items() if name.startswith("features.")}
            layers.load_state_dict(own, assign=True)
        except Exception as error:  # pickle, zip and torch have errors of their own
            raise InvalidInputError(
                f"'{files[0]}' is damaged, or no file of torchvision's {_MODELS[net][0]}."
            ) from error
        self._layers = layers.eval().to(device, torch.float32)
        linear = torch.load(files[1], map_location="cpu", weights_only=True)
        self._weights = [linear[f"lin{number}.model.1.weight"].to(device) for number in range(len(linear))]
        self._shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float32, device=device)[:, None, None]
        self._scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float32, device=device)[:, None, None]

    def maps(
        self, first: Float[Tensor, "1 3 height width"], second: Float[Tensor, "1 3 height width"]
    ) -> list[Float[Tensor, "1 1 h w"]]:
        """Return the distance of each layer at each of its places: w · (a/‖a‖ - b/‖b‖)², with norms over channels.

        Args:
            first, second: RGB in [-1, 1].
        """
        if min(first.shape[2:]) < SMALLEST:
            height, width = first.shape[2:]
            raise InvalidInputError(
                f"LPIPS needs pictures of at least {SMALLEST}x{SMALLEST} pixels (got {width}x{height})."
            )
        both = [(picture.to(self.device) - self._shift) / self._scale for picture in (first, second)]
        layers = zip(*(activations(self._layers, self.net, picture) for picture in both), strict=True)
        return [
            conv2d((_unit(a) - _unit(b)) ** 2, weight) for (a, b), weight in zip(layers, self._weights, strict=True)
        ]

    def distance(self, first: Float[Tensor, "1 3 height width"], second: Float[Tensor, "1 3 height width"]) -> float:
        """Return the distance: the sum over layers of the mean over places."""
        return float(sum(layer.mean() for layer in self.maps(first, second)))

    def spatial(
        self, first: Float[Tensor, "1 3 height width"], second: Float[Tensor, "1 3 height width"]
    ) -> Float[Tensor, "height width"]:
        """Return the distance at each pixel: the sum of the layers' maps, brought to the picture's size bilinearly."""
        size = first.shape[2:]
        maps = self.maps(first, second)
        return torch.stack(
            [interpolate(layer, size, mode="bilinear", align_corners=False)[0, 0] for layer in maps]
        ).sum(0)


def _unit(a: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c h w"]:
    return a / (_EPSILON + (a**2).sum(dim=1, keepdim=True)).sqrt()
