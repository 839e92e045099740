"""Pipeline folders for tests of loading, and what is done to them."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file


def change(file: Path, **values: Any) -> None:
    """Change keys of a JSON file; a value of ``...`` takes its key out."""
    content = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def weights_of(component: Path) -> Path:
    """The one weight file of a component."""
    (file,) = component.glob("*.safetensors")
    return file


def drop(component: Path, *, keep: int) -> int:
    """Leave ``keep`` tensors of a component; return how many are gone."""
    file = weights_of(component)
    tensors = load_file(file)
    save_file({name: tensors[name] for name in sorted(tensors)[:keep]}, file, {"format": "pt"})
    return len(tensors) - keep


def add(component: Path, name: str, tensor: Any) -> None:
    """Add a tensor to a component."""
    file = weights_of(component)
    save_file({**load_file(file), name: tensor}, file, {"format": "pt"})
