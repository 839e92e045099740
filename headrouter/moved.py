"""Find modules by their import paths of before the rooms, for one release, with a warning."""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast, final

if TYPE_CHECKING:
    from importlib.abc import Loader

_ROOMS: Final = {
    "headrouter": {
        "imaging": "picture colour decoding measure",
        "config": "configuration yaml_document one_or_more",
        "prompts": "prompt",
        "attention": "rows joint_attention kernels",
        "models": "backbone weights",
        "methods": "method",
        "sampling": "inversion directions noise cost engine dispatch",
        "editing": "editor request record result sheet assembly",
        "plugins": "hookspecs schema",
    },
    "headrouter.cli": {"commands": "conformance doctor edit new_plugin plugins presets reconstruct schema"},
    "headrouter_shapes": {
        "world": "vocabulary scene outline drawing render caption oracle sheet pool",
        "pipelines": "build autoencoder tokenizer folder prompting sampling",
        "training": "attention flow optimiser parallel transplant",
    },
    "headrouter_analysis": {
        "methods": "choice depth dropout maps routing sensitivity swap",
        "analyses": "blocks dropping heads masks pairs routing_trial",
    },
    "headrouter_diffusers": {
        "attention": "attachment blocks compiled interception operation processors refusals running tap",
        "components": "content fitness index parts placement quantisation schedulers single_file variants weights",
    },
}
_CHECKS: Final = {
    "checks": "backbone inversion method plugin",
    "checks.backbone": "attaching layout listening picture prompt velocity weights",
}
MOVED: Final = {
    **{
        f"{package}.{name}": f"{package}.{room}.{name}"
        for package, rooms in _ROOMS.items()
        for room, names in rooms.items()
        for name in names.split()
    },
    **{
        f"headrouter.testing.{name}_checks": f"headrouter.testing.{room}.{name}"
        for room, names in _CHECKS.items()
        for name in names.split()
    },
    "headrouter.clock": "headrouter.attention.step_info",
    "headrouter.moments": "headrouter.config.step_or_fraction",
    "headrouter.reconstruction": "headrouter.editing.result",
    "headrouter.editing.reconstruction": "headrouter.editing.result",
    "headrouter.job": "headrouter.editing.request",
    "headrouter.inverted": "headrouter.editing.inverted_latents",
    "headrouter.testing.trajectories": "headrouter.testing.known_velocity",
    "headrouter.again": "headrouter.editing.replay",
    "headrouter.editing.again": "headrouter.editing.replay",
    "headrouter_shapes.bench.code": "headrouter.plugins.code",
    "headrouter_shapes.bench.configuration": "headrouter.experiments.configuration",
    "headrouter_shapes.bench.intervals": "headrouter.experiments.statistics",
    "headrouter.maps": "headrouter.methods.word_maps",
    "headrouter.plugin": "headrouter.plugins.specifications",
    "headrouter.routing": "headrouter.methods.head_router",
    **{
        f"headrouter_{name}": "headrouter_inversions"
        for name in ("euler", "rf", "rf_sde", "rf_solver", "fireflow", "flowedit", "sdedit")
    },
}
"""Old names of modules and packages, and their new ones."""


@final
class _Moved:
    """Finds and loads modules by their old names.

    It derives from no class of ``importlib.abc``, since importing that takes longer than the rest of headrouter.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name, None for any other."""
        package, _, rest = fullname.rpartition(".")
        new = MOVED.get(fullname) or (f"{MOVED[package]}.{rest}" if package in MOVED else None)
        if new is None:
            return None
        warnings.warn(f"{fullname} is {new} now; the old name goes with the next release.", DeprecationWarning, 2)
        return ModuleSpec(fullname, cast("Loader", self), loader_state=new, is_package=fullname in MOVED)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself."""
        module = importlib.import_module(spec.loader_state)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module, which has run, its own spec back."""
        old = module.__spec__
        assert old is not None
        module.__spec__ = old.loader_state


def install() -> None:
    """Find old names before their packages are searched, since modules would exist twice."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Moved())
