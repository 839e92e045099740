"""Find the bundled pipelines."""

from pathlib import Path
from typing import Final

from headrouter.errors import UnknownNameError, WeightsError
from headrouter.models.checksums import CHECKSUMS

BUNDLED: Final = ("flux", "flux-kontext", "sd3", "sd3.5")
"""Names under which pipelines are, or will be, bundled."""


def model_path(backbone: str) -> Path:
    """Return the folder of a bundled pipeline, in diffusers' ordinary format.

    Args:
        backbone: ``"flux"``, ``"sd3"`` or ``"sd3.5"``, which draw captions, or ``"flux-kontext"``, which edits by instructions.

    Raises:
        UnknownNameError: another name.
        WeightsError: this one is not bundled in this installation; the message says which are and how to train it. Or its
            checksums are missing.
    """
    if backbone not in BUNDLED:
        raise UnknownNameError(f"`backbone` must be one of {', '.join(BUNDLED)}; got {backbone!r}.")
    root = Path(__file__).parent / "weights"
    folder = root / backbone
    if not (folder / "model_index.json").is_file():
        present = [name for name in BUNDLED if (root / name / "model_index.json").is_file()]
        raise WeightsError(
            f"`backbone` {backbone!r} has no bundled weights here; bundled: {', '.join(present) or 'none'}. "
            f"Choose one that is, or train it: python -m headrouter_shapes.train --model {backbone} --out FOLDER (docs/shapes.md)."
        )
    if not (folder / CHECKSUMS).is_file():
        raise WeightsError(
            f"`backbone` {backbone!r} has no {CHECKSUMS} in {folder}, by which its files are checked. Install headrouter again, or"
            " `git restore` the folder in a checkout."
        )
    return folder


def path_flux() -> Path:
    """Return the folder of the bundled Flux pipeline; see :func:`model_path`."""
    return model_path("flux")


def path_flux_kontext() -> Path:
    """Return the folder of the bundled FLUX.1 Kontext pipeline; see :func:`model_path`."""
    return model_path("flux-kontext")


def path_sd3() -> Path:
    """Return the folder of the bundled SD3 pipeline; see :func:`model_path`."""
    return model_path("sd3")


def path_sd35() -> Path:
    """Return the folder of the bundled SD3.5 pipeline; see :func:`model_path`."""
    return model_path("sd3.5")
