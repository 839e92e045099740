"""Asking an adapter what it is costs nothing."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["headrouter_flux", "headrouter_sd3", "headrouter_diffusers"])
def test_importing_an_adapter_loads_neither_torch_nor_diffusers(name):
    code = f"import sys, {name}; sys.exit(bool({{'torch', 'diffusers', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
