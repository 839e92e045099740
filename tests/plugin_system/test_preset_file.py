"""Presets in files: read, written, applied to every part, and refused where they mean nothing."""

from pathlib import Path

import pytest

from headrouter.editing.assembly import inversion_of, methods_of, operators_of
from headrouter.editing.tuning import Knobs, settle, with_preset
from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError
from headrouter.models.backbone import Defaults
from headrouter.plugins.preset_file import PresetFile, read_presets, write_preset

VALUES = {
    "inversion": {"rf": {"eta": 0.7, "stop": 6, "guidance": 2.0}},
    "operator": {"gate": {"start": 2}},
    "method": {"headrouter": {"gamma": 0.25}},
}


def _written(folder: Path, **values: object) -> Path:
    return write_preset(
        folder / "mine.yaml", PresetFile.model_validate({**_PLAIN, **values}), "Found by hand.\n\nOften."
    )


_PLAIN = {"name": "mine", "reference_steps": 10, "provenance": "tried", "values": VALUES}


def test_a_file_gives_the_values_of_a_registered_preset(tmp_path):
    path = _written(tmp_path)
    assert path.read_text().startswith("# Found by hand.\n#\n# Often.\n")
    assert [(one.component, dict(one.values)) for one in read_presets(path)] == [
        ((kind, part), values) for kind, parts in VALUES.items() for part, values in parts.items()
    ]
    parts = inversion_of("rf"), methods_of("headrouter"), 20, operators_of("gate")
    inversion, (method,), (operator,) = with_preset(str(path), *parts)
    assert (inversion.eta, inversion.stop, inversion.guidance) == (0.7, 12, 2.0), "numbers of steps are scaled"
    assert (method.gamma, operator.start) == (0.25, 4)


def test_what_the_user_sets_goes_before_the_file(tmp_path):
    inversion, (method,), _ = with_preset(
        str(_written(tmp_path)),
        type(inversion_of("rf"))(eta=0.1),
        [type(methods_of("headrouter")[0])(gamma=0.9)],
        10,
        operators_of("gate"),
    )
    assert (inversion.eta, inversion.stop, method.gamma) == (0.1, 6, 0.9)


@pytest.mark.parametrize("asked, steps, stop", [(None, 8, 5), (16, 16, 10)])
def test_a_file_may_set_the_number_of_steps(tmp_path, asked, steps, stop):
    path = _written(tmp_path, reference_steps=8, values={"inversion": {"rf": {"steps": 8, "stop": 5}}})
    plan = settle(Knobs(preset=path, steps=asked), inversion_of("rf"), methods_of(None), Defaults(28, 3.0, 64))
    assert (plan.steps, plan.inversion.stop) == (steps, stop)


def test_a_part_of_the_file_that_takes_no_part_is_named(tmp_path):
    with pytest.raises(IncompatibleError, match="gives values to the operator 'gate', which takes no part here"):
        with_preset(str(_written(tmp_path)), inversion_of("rf"), methods_of("headrouter"), 10)


@pytest.mark.parametrize(
    "text, said",
    [
        (
            "name: mine\nreference_steps: 8\nprovenance: x\nvalues: {}",
            "mine.yaml:4:9: `values` of preset 'mine' are empty",
        ),
        (
            "name: mine\nreference_steps: 0\nprovenance: x\nvalues: {method: {headrouter: {gamma: 1}}}",
            "reference_steps",
        ),
        ("name: mine\nreference_steps: 8\nvalues: {methods: {}}", "provenance"),
        ("- 1", "valid dictionary"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        read_presets(path)
    assert said in str(caught.value)


def test_an_unknown_part_and_a_missing_file_are_named(tmp_path):
    path = _written(tmp_path, values={"method": {"headrooter": {"gamma": 1.0}}})
    for preset, said in ((str(path), "Did you mean 'headrouter'"), (str(tmp_path / "none.yaml"), "cannot read")):
        with pytest.raises(HeadRouterError, match=said):
            with_preset(preset, inversion_of("rf"), methods_of("headrouter"), 10)


def test_a_value_that_no_preset_holds_is_not_written(tmp_path):
    with pytest.raises(InvalidInputError, match="`values` of preset 'mine'"):
        _written(tmp_path, values={"method": {"headrouter": {"mask": {"name": "grow"}}}})
    assert not list(tmp_path.iterdir())
