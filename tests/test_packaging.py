"""One distribution: what is in the wheel, and that folders and entry points name each other."""

import zipfile
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from headrouter.models.checksums import CHECKSUMS, files_of

ROOT = Path(__file__).parents[1]
ROOMS = ("adapters", "inversions", "plugins")


def test_the_rooms_are_no_packages_of_their_own():
    """Another project on the package index owns the name `adapters`."""
    assert not [room for room in ROOMS if (ROOT / room / "__init__.py").exists()]


def test_every_plugin_folder_has_an_entry_point_and_the_other_way_round():
    modules = {entry.value for entry in distribution("headrouter").entry_points if entry.group == "headrouter"}
    folders = {folder.name for room in ROOMS for folder in (ROOT / room).glob("headrouter_*")}
    assert folders - {"headrouter_diffusers"} == modules - {
        "headrouter.methods.head_router.plugin",
        "headrouter.masks.plugin",
    }
    assert all((path / "py.typed").is_file() for room in ROOMS for path in (ROOT / room).glob("headrouter_*"))


def test_a_folder_has_at_most_twelve_modules():
    """Decision 30; beside its ``__init__``."""
    modules = [file for room in ("headrouter", *ROOMS) for file in (ROOT / room).rglob("[!_]*.py")]
    sizes = Counter(file.parent.relative_to(ROOT).as_posix() for file in modules)
    assert {folder: size for folder, size in sizes.items() if size > 12} == {}


def test_the_wheel_holds_every_package_and_the_weights_and_nothing_else(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"headrouter"} | {folder.name for room in ROOMS for folder in (ROOT / room).glob("headrouter_*")}
    for folder in (ROOT / "plugins/headrouter_shapes/weights").iterdir():
        place = f"headrouter_shapes/weights/{folder.name}/"
        inside = {name.removeprefix(place) for name in names if name.startswith(place)}
        assert inside == {*files_of(folder), CHECKSUMS}
    assert Path(wheel).stat().st_size < 80_000_000
