"""Write sheets of pictures to look at."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from headrouter_shapes.files import replacing


def save_sheet(pictures: npt.NDArray[np.uint8], path: Path, columns: int, zoom: int = 2) -> None:
    """Write pictures [N, H, W, 3] side by side as a PNG, ``columns`` in a row."""
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height, width, 3), 255, dtype=np.uint8)
    sheet[:count] = pictures
    grid = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    picture = Image.fromarray(grid).resize((columns * width * zoom, rows * height * zoom), Image.Resampling.NEAREST)
    with replacing(path) as place:
        picture.save(place, format="PNG", optimize=True)
