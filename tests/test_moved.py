"""Import paths of before the rooms still give the modules, with a warning that names the new path."""

import importlib
import sys
import warnings

import pytest

from headrouter.moved import MOVED


@pytest.mark.parametrize("old", [*MOVED, "headrouter.routing.method", "headrouter_rf.rf"])
def test_an_old_path_is_the_new_module(old: str) -> None:
    with warnings.catch_warnings():  # of what is imported along with it
        warnings.simplefilter("ignore")
        importlib.import_module(old)
    sys.modules.pop(old)
    with pytest.warns(DeprecationWarning, match=rf"{old} is (\S+) now") as told:
        module = importlib.import_module(old)
    said = (str(one.message).split() for one in told)
    new = next(words[2] for words in said if words[0] == old)
    assert module is importlib.import_module(new)
    assert module.__spec__ is not None and module.__spec__.name == new


def test_other_names_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("headrouter.nothing_of_this_name")
