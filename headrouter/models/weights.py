"""Find a model's weights on this machine, without loading them and without the network."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headrouter.errors import PluginError
from headrouter.files import LARGEST_TEXT, read_file
from headrouter.plugins.targets import folder_of


@dataclass(frozen=True, slots=True)
class WeightsState:
    """Describes whether weights can be used now, and otherwise the next step.

    Args:
        state: ``bundled`` with an installed package; ``folder`` on disk; ``cached`` from the hub; ``incomplete``; ``damaged``;
            ``gated``, not here and behind a licence; ``absent``; ``broken``, the function that should find them failed.
        remark: the folder, what is missing, or the next step.
    """

    state: Literal["bundled", "folder", "cached", "incomplete", "damaged", "gated", "absent", "broken"]
    remark: str

    @property
    def usable(self) -> bool:
        """Return whether an edit could load them now."""
        return self.state in ("bundled", "folder", "cached")


def find_weights(source: str, *, gated: bool = False) -> WeightsState:
    """Look for the weights of a hub id, a local folder, or a ``"package:function"`` that returns a folder."""
    with suppress(OSError):  # longer than a path may be
        if Path(source).is_dir():
            return _judge("folder", Path(source))
    if ":" in source:
        try:
            return _judge("bundled", Path(folder_of(source)))
        except PluginError as error:
            return WeightsState("broken", str(error))
    snapshot = _cached_snapshot(source)
    if snapshot is not None:
        return _judge("cached", snapshot)
    if gated:
        return WeightsState(
            "gated",
            f"accept the licence at https://huggingface.co/{source}, then `hf auth login` and `hf download {source}`",
        )
    return WeightsState("absent", f"`hf download {source}`")


def missing_weights(folder: Path) -> list[str]:
    """Return the weight files that a folder's ``model_index.json`` and shard indexes promise and that are not there."""
    index = _json(folder / "model_index.json")
    missing = []
    for name, entry in index.items():
        component = folder / name
        if name.startswith("_") or not isinstance(entry, list) or entry[:1] == [None]:
            continue
        if not component.is_dir():
            missing.append(f"{name}/")
        elif (component / "config.json").is_file():  # only models have one; schedulers and tokenizers do not
            missing += [f"{name}/{file}" for file in _promised(component) if not (component / file).is_file()]
    return missing


def _promised(component: Path) -> list[str]:
    shards = {
        file for index in component.glob("*.safetensors.index*.json") for file in _json(index)["weight_map"].values()
    }
    if shards or any(component.glob("*.safetensors")):
        return sorted(shards)
    return ["*.safetensors"]


def _json(file: Path) -> Any:
    return json.loads(read_file(file, "model", LARGEST_TEXT).decode())


def _judge(state: Literal["bundled", "folder", "cached"], folder: Path) -> WeightsState:
    try:
        missing = missing_weights(folder)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        return WeightsState("incomplete", f"{folder} has no readable model_index.json ({type(error).__name__})")
    if missing:
        return WeightsState("incomplete", f"{folder} lacks {', '.join(missing)}")
    return WeightsState(state, f"{folder}{_variants(folder)}")


def _variants(folder: Path) -> str:
    """Return the variants of a transformer in a folder without plain weights, as advice."""
    names = [file.name.removesuffix(".safetensors") for file in (folder / "transformer").glob("*.safetensors")]
    variants = {re.sub(r"-\d{5}-of-\d{5}", "", name).partition(".")[2] for name in names}
    return "" if "" in variants or not variants else f" (variant {', '.join(sorted(variants))})"


def _cached_snapshot(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, "model_index.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None
