"""The machine, in words."""

import os
import platform
from pathlib import Path

import torch


def machine(device: torch.device | str = "cpu") -> str:
    """Kind of processor, cores, memory, accelerator, versions; nothing that names one particular machine."""
    device = torch.device(device)
    parts = [processor(), f"{os.cpu_count()} cores", f"{_memory_gib()} GiB"]
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        parts += [f"{properties.name} with {properties.total_memory / 2**30:.0f} GiB", f"CUDA {torch.version.cuda}"]
    parts += [f"Python {platform.python_version()}", f"PyTorch {torch.__version__}", platform.system()]
    return ", ".join(parts)


def processor() -> str:
    """Name of the kind of processor, with the vector instructions that matter to PyTorch."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
