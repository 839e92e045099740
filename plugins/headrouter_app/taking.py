"""Write the folder of a result, as ``Result.save`` does, into one file to download."""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from gradio.utils import get_upload_folder

from headrouter_app.running import Entry


def folder_of(entry: Entry) -> Path:
    """Return the ZIP file of a result's folder, which is written once, where nobody can guess it."""
    place = Path(get_upload_folder()) / entry.secret
    path = place / f"headrouter-edit-{entry.number}.zip"
    if path.is_file():
        return path
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place) as scratch:
        folder = entry.result.save(Path(scratch) / "edit")
        with zipfile.ZipFile(path, "w") as file:
            for one in sorted(folder.iterdir()):
                file.write(one, one.name)
    return path
