"""Asking an adapter what it is costs nothing."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["headrouter_flux", "headrouter_sd3", "headrouter_diffusers"])
def test_importing_an_adapter_loads_neither_torch_nor_diffusers(name):
    code = f"import sys, {name}; sys.exit(bool({{'torch', 'diffusers', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_parameters_of_every_backbone_load_no_diffusers():
    """Planning an experiment, a schema and a list of models need parameters alone."""
    code = (
        "import sys; from headrouter.plugins import registry\n"
        "classes = [entry.item.load() for entry in registry().entries('backbone')]\n"
        "assert len(classes) > 10\n"
        "sys.exit(bool({'diffusers', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
