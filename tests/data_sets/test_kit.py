"""Every data set passes the kit, on a small folder in its format."""

import pytest

from headrouter.plugins import registry
from headrouter.testing import DatasetConformance, DatasetSubject

from . import folders


@pytest.fixture(params=folders.ALL, scope="module")
def whole(request, tmp_path_factory):
    return request.param, folders.made(folders.ALL[request.param], tmp_path_factory.mktemp("kit"))


class TestDatasets(DatasetConformance):
    @pytest.fixture
    def dataset(self, whole):
        name, folder = whole
        kind = registry().entry("dataset", name).item.load()

        def change():
            """Other pixels of the first picture; of the first row's, where they lie in a table."""
            for ending in ("jpg", "png", "jpeg"):
                for file in sorted(folder.rglob(f"*.{ending}")):
                    if "mask" not in file.name and "right" not in file.name:
                        folders.put(file, folders.drawn(file_size(file), 123))
            for file in sorted(folder.rglob("*.parquet")):
                recoloured(file)

        return DatasetSubject(name, lambda: kind(folder=str(folder)), change)


def file_size(file):
    from PIL import Image

    with Image.open(file) as picture:
        return picture.size


def recoloured(file):
    from pyarrow import parquet

    rows = parquet.read_table(file).to_pydict()
    (name,) = (name for name in ("image", "original_image") if name in rows)
    size = (512, 512) if name == "image" else (300, 200)
    rows[name] = [
        {"bytes": folders.encoded(folders.drawn(size, 500 + n)), "path": None} for n in range(len(rows[name]))
    ]
    folders.parquet(file, rows, [column for column in rows if "image" in column])
