"""Describe how the loading of each plug-in ended."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """Describes one row of ``headrouter plugins``.

    Args:
        name: of the entry point.
        distribution: the installed project that brings it; ``"runtime"`` for what a program registered by itself.
        version: of the distribution.
        module: the module the entry point names.
        status: ``ok``; ``disabled`` by an environment variable; ``incompatible`` with this version; ``broken``.
        message: why it is not ok, or a remark.
        registers: what it brings, e.g. ``("backbone flux", "identify_backbone")``.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: Literal["ok", "disabled", "incompatible", "broken"] = "ok"
    message: str = ""
    registers: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return name, origin, status and reason in one line."""
        origin = f"{self.distribution} {self.version}".rstrip()
        return f"plug-in {self.name!r} of {origin} is {self.status}: {self.message}"
