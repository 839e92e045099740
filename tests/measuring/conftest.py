"""The tiny networks, made once."""

import pytest

from . import networks


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders by name."""
    root = tmp_path_factory.mktemp("networks")
    folders = {name: root / name for name in ("clip", "dino", "dinov2", "lpips")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("clip", "dino", "dinov2"):
        getattr(networks, name)(folders[name])
    networks.convolutions(folders["lpips"])
    return folders
