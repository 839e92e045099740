"""Register metrics of edits: distances of pixels and of features, and agreement with the text."""

from collections.abc import Callable
from typing import Final

from headrouter.plugins.specifications import MetricSpec, hookimpl

headrouter_api = 1

_METRICS: Final = (
    ("psnr-1", "pixels:Psnr", (), "Peak signal-to-noise ratio to the source, dB."),
    ("mse-1", "pixels:MeanSquaredError", (), "Mean squared error to the source."),
    ("ssim-1", "pixels:Ssim", (), "Structural similarity to the source (Image Processing 13(4), 2004)."),
    ("lpips-1", "lpips:Lpips", (), "Perceptual distance to the source, arXiv:1801.03924."),
    ("clip-t-1", "clip:ClipText", (), "Agreement of the edit with its text by CLIP, times 100."),
    ("clip-i-1", "clip:ClipImage", (), "Cosine of the CLIP embeddings of source and edit."),
    (
        "clip-directional-1",
        "clip:ClipDirectional",
        (),
        "Cosine of the change of the picture and that of the text by CLIP.",
    ),
    ("dino-1", "dino:Dino", (), "Cosine of the DINO embeddings of source and edit, arXiv:2104.14294."),
    ("dinov2-1", "dino:Dinov2", (), "Cosine of the DINOv2 embeddings of source and edit, arXiv:2304.07193."),
    (
        "structure-distance-1",
        "structure:StructureDistance",
        (),
        "Distance of self-similarities by DINO, arXiv:2201.00424.",
    ),
    ("pie-v1", "pie_v1:PieV1", (), "The eight figures of PIE-Bench as its published evaluator computes them."),
    ("pie-strict-1", "pie_strict:PieStrict", ("pie-strict",), "The same with means over background pixels alone."),
)


@hookimpl
def register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Register the metrics."""
    for name, target, aliases, summary in _METRICS:
        register(MetricSpec(name=name, target=f"headrouter_metrics.{target}", aliases=aliases, summary=summary))
