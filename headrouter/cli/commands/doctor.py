"""Show versions, devices and memory, and for each model the place of its weights and their licence."""

import argparse
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrouter.cli.table import table, terminal_width
from headrouter.errors import HeadRouterError, reason_of
from headrouter.plugins.specifications import Model
from headrouter.version import __version__

if TYPE_CHECKING:
    from headrouter.plugins import Registry

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "tokenizers",
    "accelerate",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pillow",
    "bitsandbytes",
    "torchao",
    "gguf",
)
GIBIBYTE = 1024**3


def add(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    parser = subcommands.add_parser("doctor", help="show versions, devices and reachable weights", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found."""
    found = examine()
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    width = terminal_width()
    print(
        table(
            ["software", "version"],
            [[name, text or "not installed"] for name, text in found["versions"].items()],
            width,
        )
    )
    print()
    print(table(["machine", ""], [[name, str(value)] for name, value in found["machine"].items()], width))
    print()
    devices = [
        [row["device"], row["name"], f"{row['memory_gib']:.1f} GiB" if row["memory_gib"] else ""]
        for row in found["devices"]
    ]
    print(table(["device", "name", "memory"], devices, width))
    print()
    columns = ("backbone", "model", "source", "weights", "licence", "remark")
    print(table(columns, [[row[column] for column in columns] for row in found["models"]], width))
    return 0


def examine() -> dict[str, Any]:
    """Return everything that the command prints, as plain data. Memory is in GiB."""
    from headrouter.plugins import registry

    return {
        "versions": {
            "python": platform.python_version(),
            "headrouter": __version__,
            **{name: _version(name) for name in PACKAGES},
        },
        "machine": _machine(),
        "devices": _devices(),
        "models": _models(registry()),
    }


def _version(package: str) -> str | None:
    try:
        return version(package) or "unknown"
    except PackageNotFoundError:
        return None
    except Exception as error:  # each Python says in another way that there is no metadata
        return f"damaged: {reason_of(error)}"


def _machine() -> dict[str, str | int]:
    from huggingface_hub.constants import HF_HUB_CACHE

    return {
        "platform": platform.platform(),
        "CPUs": os.cpu_count() or 0,
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "not set"),
        "hub cache": HF_HUB_CACHE,
    }


def _devices() -> list[dict[str, Any]]:
    try:
        import torch
    except Exception as error:  # a doctor must not need health; torch's libraries may fail to load
        return [{"device": "none", "name": f"torch cannot be imported: {reason_of(error)}", "memory_gib": None}]
    rows: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        try:
            found = torch.cuda.get_device_properties(index)
            name, memory = found.name, found.total_memory / GIBIBYTE
        except Exception as error:
            name, memory = f"cannot be used: {reason_of(error)}", None
        rows.append({"device": f"cuda:{index}", "name": name, "memory_gib": memory})
    if torch.backends.mps.is_available():
        rows.append({"device": "mps", "name": platform.processor(), "memory_gib": _memory()})
    rows.append({"device": "cpu", "name": platform.processor() or platform.machine(), "memory_gib": _memory()})
    return rows


def _memory() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _models(known: "Registry") -> list[dict[str, str]]:
    """List every model by its backbone; last come models whose backbone is not installed."""
    from headrouter.models.checksums import refuse_changed
    from headrouter.models.weights import WeightsState, find_weights

    models = [model for entry in known.entries("backbone") for model in known.models(entry.qualified_name)]
    stray = [entry.item for entry in known.entries("model") if entry.item not in models]
    rows = []
    for model in (*models, *stray):
        assert isinstance(model, Model)
        found = find_weights(model.source, gated=model.gated)
        if found.state == "bundled":
            try:
                refuse_changed(model.source, Path(model.locate()))
            except HeadRouterError as error:
                found = WeightsState("damaged", str(error))
        remark = found.remark if model in models else f"no plug-in brings the backbone {model.backbone!r}"
        rows.append(
            {
                "backbone": model.backbone,
                "model": model.name,
                "source": model.source,
                "weights": found.state,
                "licence": model.licence,
                "remark": remark,
            }
        )
    return rows
