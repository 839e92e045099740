"""Nodes of ComfyUI: their schemas, whole graphs against the editor itself, progress, interruption and refusals."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_comfy.saving import new_folder
from headrouter_comfy.tensors import mask_of_tensor, mask_tensor_of, pictures_of, tensor_of
from headrouter_flux_kontext.parameters import KontextParameters
from headrouter_flux_kontext.testing import tiny_kontext
from headrouter_shapes.world.render import render
from headrouter_shapes.world.scene import Scene
from PIL import Image

from comfyui_nodes.harness import Comfy, Interruption, InterruptProcessingException, ProgressBar, modules
from headrouter.cli import main
from headrouter.editing.assembly import part_class
from headrouter.editing.editor import Editor
from headrouter.editing.replay import replay
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.plugins import registry

ROOT = Path(__file__).parents[2]
PICTURE = render(Scene(shape="star", colour="blue", texture="plain", position="left", variation=3))
SOURCE, PROMPT = "a large blue star on the left", "a large red star on the left"
ASKED: dict[str, Any] = {"prompt": PROMPT, "source_prompt": SOURCE, "steps": 3}
INSIDE = Image.new("L", PICTURE.size)
INSIDE.paste(255, (0, 0, 40, 64))


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    output = str(tmp_path_factory.mktemp("output"))
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules(output).items():
            patch.setitem(sys.modules, name, module)
        yield Comfy()


@pytest.fixture(scope="module")
def loaded(comfy: Comfy) -> Editor:
    """The bundled model, as the node loads it."""
    editor: Editor = comfy.run({1: ("headrouter.load.sd3.5", {"model": "shapes"})})[1][0]
    return editor


@pytest.fixture
def inputs(loaded: Editor) -> dict[str, Any]:
    return {"model": loaded, "image": tensor_of([PICTURE]), **ASKED}


def pixels(image: Any) -> Any:
    return np.asarray(image.convert("RGB")) if isinstance(image, Image.Image) else (image * 255).round().byte().numpy()


def test_comfyui_loads_the_nodes_from_a_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "custom_nodes").mkdir()
    written = tmp_path / "custom_nodes" / "headrouter" / "__init__.py"
    assert main(["comfyui", str(tmp_path)]) == 0 and main(["comfyui", str(tmp_path)]) == 0
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from importlib.util import module_from_spec, spec_from_file_location
from comfyui_nodes.harness import Comfy, modules
sys.modules.update(modules())
spec = spec_from_file_location("custom_nodes.headrouter", {str(written)!r})
module = module_from_spec(spec)
spec.loader.exec_module(module)
assert module.comfy_entrypoint is __import__("headrouter_comfy").comfy_entrypoint
print(len(Comfy().nodes), [name for name in ("diffusers", "transformers", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, _, imported = done.stdout.strip().partition(" ")
    assert int(count) > 60 and imported == "[]"


def test_the_command_leaves_other_folders_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["comfyui", str(tmp_path)]) == 2
    assert "holds `custom_nodes`" in capsys.readouterr().err
    other = tmp_path / "custom_nodes" / "headrouter"
    other.mkdir(parents=True)
    (other / "__init__.py").write_bytes(b"NODE_CLASS_MAPPINGS = {}  # \xff\n")
    assert main(["comfyui", str(tmp_path)]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert (other / "__init__.py").read_bytes() == b"NODE_CLASS_MAPPINGS = {}  # \xff\n"


def test_a_node_as_it_is_makes_the_part_as_it_is(comfy: Comfy) -> None:
    checked = 0
    for name in comfy.schemas:
        kind, _, part = name.removeprefix("headrouter.").partition(".")
        if kind not in ("inversion", "operator", "method", "mask") or not part:
            continue
        found = part_class(kind, part)
        if any(field.is_required() for field in found.model_fields.values()):
            continue
        (made,) = comfy.run({1: (name, {})})[1]
        (made,) = made if kind in ("operator", "method") else (made,)
        assert made == found() and not made.model_fields_set, name
        checked += 1
    assert checked > 30


def test_a_graph_gives_the_edit_of_the_same_editor(comfy: Comfy, inputs: dict[str, Any]) -> None:
    made = comfy.run(
        {
            1: ("headrouter.inversion.rf", {"eta": 0.8, "stop": "1"}),
            2: ("headrouter.operator.mask", {"strength": 0.9}),
            3: ("headrouter.method.head-routing", {"gamma": 0.5}),
            4: ("headrouter.method.local-blend", {"before": [3, 0]}),
            5: ("headrouter.mask.grow", {"of": mask_tensor_of([INSIDE]), "by": 0.1}),
            6: (
                "headrouter.edit",
                {**inputs, "inversion": [1, 0], "operators": [2, 0], "methods": [4, 0], "mask": [5, 0], "seed": 4},
            ),
            7: ("headrouter.word-map", {"edits": [6, 3], "word": "red"}),
            8: ("headrouter.head-weights", {"edits": [6, 3]}),
            9: ("headrouter.reconstruction", {"edits": [6, 3]}),
        }
    )
    image, mask, record, (result,) = made[6]
    editor = inputs["model"].with_parts(*(part[0] for part in (made[1], made[4])), operators=made[2][0], progress=False)
    grown = mask_of_tensor(mask_tensor_of([INSIDE])).grown(0.1)
    expected = editor.edit(PICTURE, PROMPT, SOURCE, steps=3, seed=4, mask=grown)
    assert np.array_equal(pixels(image[0]), pixels(expected.image))
    assert np.array_equal(pixels(mask)[0], np.asarray(expected.mask()))
    plain = json.loads(record)
    assert plain == json.loads(json.dumps(expected.record.plain()))
    assert plain["backbone"]["name"] == "sd3.5" and plain["backbone"]["model"] == "shapes"
    assert np.array_equal(pixels(made[9][0][0]), pixels(expected.reconstruction))
    over, shares = made[7]
    assert over.shape[1:3] == shares.shape[1:] == (64, 64) and shares.max() == 1 and 0 < shares.mean() < 1
    brightest = np.unravel_index(int(shares[0].argmax()), (64, 64))
    grid = result.text_map("red")
    cell = np.unravel_index(int(grid.argmax()), grid.shape)
    assert all(
        abs(place / 64 - (own + 0.5) / side) < 1 / side
        for place, own, side in zip(brightest, cell, grid.shape, strict=True)
    )
    assert made[8][0].shape[1] > 100


def test_the_graph_of_the_documentation_runs(comfy: Comfy) -> None:
    graph = json.loads((ROOT / "docs" / "comfyui-edit.json").read_text())
    graph["3"]["inputs"] |= {"image": tensor_of([PICTURE]), "steps": 8}
    own = {
        int(number): (node["class_type"], node["inputs"]) for number, node in graph.items() if "." in node["class_type"]
    }
    for _, given in own.values():
        given |= {key: [int(value[0]), value[1]] for key, value in given.items() if isinstance(value, list)}
    assert [len(made) for made in comfy.run(own, filled=False).values()] == [1, 4, 2, 1]


def test_lines_and_pictures_give_one_edit_each(comfy: Comfy, inputs: dict[str, Any]) -> None:
    other = Image.new("RGB", PICTURE.size, "white")
    outside = Image.eval(INSIDE, lambda level: 255 - level)
    inputs |= {"image": tensor_of([PICTURE, other]), "prompt": f"{PROMPT}\n\n a green star ", "steps": 1, "maps": False}
    inputs |= {"mask": mask_tensor_of([INSIDE, outside]), "paste": True}
    image, mask, record, results = comfy.run({1: ("headrouter.edit", inputs)})[1]
    assert image.shape == (4, 64, 64, 3) and len(results) == 2 and len(json.loads(record)) == 2
    assert [prompt.text for prompt in results[1].prompts] == [PROMPT, "a green star"]
    assert np.array_equal(pixels(mask), [np.asarray(one) for one in (INSIDE, INSIDE, outside, outside)])
    assert np.array_equal(
        pixels(image)[2:, :, :38], np.full((2, 64, 38, 3), 255)
    )  # what is pasted back, short of the seam
    assert not np.array_equal(pixels(image)[0], pixels(image)[1])


def test_saved_edits_are_run_again_and_never_replaced(comfy: Comfy, inputs: dict[str, Any], tmp_path: Path) -> None:
    graph: dict[int, Any] = {1: ("headrouter.edit", {**inputs, "steps": 2, "keep": 0.7})}
    graph |= {2: ("headrouter.save", {"edits": [1, 3], "name": "stars/red"}), 3: ("headrouter.save", {"edits": [1, 3]})}
    made = comfy.run(graph)
    folder = Path(made[2][0])
    assert folder.parts[-2:] == ("stars", "red-00001") and Path(made[3][0]).name == "headrouter-00001"
    again = replay(folder, progress=False)
    assert np.array_equal(pixels(again.image), pixels(made[1][0][0]))
    assert new_folder(folder.parent, "red").name == "red-00002"
    for name in ("../red", "", ".", "/red"):
        with pytest.raises(InvalidInputError, match="`name` must be a folder within"):
            new_folder(tmp_path, name)


def test_presets_fill_what_the_widgets_leave(comfy: Comfy, inputs: dict[str, Any]) -> None:
    inputs |= {"preset": "paper", "steps": 1, "maps": False}
    made = comfy.run(
        {
            1: ("headrouter.inversion.euler", {}),
            2: ("headrouter.method.headrouter", {"k": 3.0}),
            3: ("headrouter.edit", {**inputs, "inversion": [1, 0], "methods": [2, 0]}),
        }
    )
    (method,) = made[3][3][0].record.methods
    assert (method.parameters["k"], method.parameters["amplify"]) == (3.0, "output")


def test_steps_are_shown_and_may_be_interrupted(comfy: Comfy, inputs: dict[str, Any]) -> None:
    ProgressBar.seen.clear()
    whole = comfy.run({1: ("headrouter.edit", inputs)})[1][0]
    assert ProgressBar.seen == [(1, 3), (2, 3), (3, 3)] * 2
    ProgressBar.seen.clear()
    Interruption.after = 4
    with pytest.raises(InterruptProcessingException):
        comfy.run({1: ("headrouter.edit", inputs)})
    assert ProgressBar.seen == [(1, 3), (2, 3), (3, 3), (1, 3)]
    assert torch.equal(comfy.run({1: ("headrouter.edit", inputs)})[1][0], whole)


def test_a_model_of_instructions_needs_no_source_prompt(comfy: Comfy) -> None:
    editor = Editor(KontextParameters().load("tiny", tiny_kontext()), progress=False)
    inputs = {
        "model": editor,
        "image": tensor_of([PICTURE]),
        "prompt": "make the star red",
        "steps": 2,
        "size": "[64, 64]",
    }
    image, mask, record, _ = comfy.run({1: ("headrouter.edit", inputs)})[1]
    assert [one["name"] for one in json.loads(record)["methods"]] == ["none"]
    assert np.array_equal(
        pixels(image[0]), pixels(editor.edit(PICTURE, "make the star red", steps=2, size=(64, 64)).image)
    )
    assert mask.min() == 1  # no mask: the edit may act everywhere
    with pytest.raises(IncompatibleError, match="`source_prompt`"):
        comfy.run({1: ("headrouter.edit", {**inputs, "source_prompt": "a blue star"})})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompt": " \n "}, "`prompt` must say"),
        ({"image": torch.zeros(64, 64, 3)}, r"`image` must be an IMAGE .*\[64, 64, 3\]"),
        ({"image": torch.full((1, 64, 64, 3), torch.nan)}, "`image` has values that are not finite"),
        ({"mask": torch.zeros(1, 64, 64)}, "`mask` is black everywhere"),
        ({"mask": torch.ones(3, 64, 64)}, r"`mask` must be a MASK .* 1 pictures \(got \[3, 64, 64\]\)"),
        ({"mask": torch.eye(32)[None], "paste": True}, "`mask`.*32x32"),
        ({"mask": mask_tensor_of([INSIDE])}, "`mask` would have no effect"),
        ({"keep": 3.0}, "`keep` cannot be 3.0"),
        ({"size": "[1"}, "`size`"),
        ({"size": "[63, 64]"}, "`size` must be positive multiples"),
    ],
)
def test_refusals_name_the_input(comfy: Comfy, inputs: dict[str, Any], changed: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidInputError, IncompatibleError), match=message):
        comfy.run({1: ("headrouter.edit", {**inputs, **changed})})


def test_an_edit_that_is_not_there_is_refused(comfy: Comfy, inputs: dict[str, Any]) -> None:
    made = {
        1: ("headrouter.edit", {**inputs, "steps": 1}),
        2: ("headrouter.reconstruction", {"edits": [1, 3], "edit": 1}),
    }
    with pytest.raises(InvalidInputError, match=r"`edit` must be 0 to 0 \(got 1\)"):
        comfy.run(made)


def test_parameters_of_a_family_are_checked_before_loading(comfy: Comfy) -> None:
    with pytest.raises(InvalidInputError, match=r"`backbone\.quantize`: must be one of nf4"):
        comfy.run({1: ("headrouter.load.flux", {"quantize": "nf5"})})


def test_a_choice_that_is_left_open_is_not_given(comfy: Comfy) -> None:
    (words,) = comfy.run({1: ("headrouter.mask.words", {"widen": "no", "blocks": "[1, 2]", "theta": 0.5})})[1]
    assert (words.widen, words.blocks, words.theta, words.ranking) == (False, (1, 2), 0.5, None)
    assert comfy.run({1: ("headrouter.inversion.fireflow", {"steps": -1})})[1][0].steps is None
    (either,) = comfy.run({1: ("headrouter.mask.union", {"of_1": words, "of_3": mask_tensor_of([INSIDE])})})[1]
    assert either.of[0] == words and not either.of[1].is_soft


def test_pictures_come_back_to_the_bit_and_gray_masks_are_soft() -> None:
    every = Image.fromarray(np.arange(256 * 3, dtype=np.uint16).reshape(16, 16, 3).astype(np.uint8))
    (back,) = pictures_of(tensor_of([every]))
    assert back.tobytes() == every.tobytes()
    (layered,) = pictures_of(torch.rand(1, 4, 5, 4))
    assert layered.mode == "RGBA"
    ramp = Image.linear_gradient("L")
    soft: Any = mask_of_tensor(mask_tensor_of([ramp]))
    assert soft.is_soft and not mask_of_tensor(mask_tensor_of([INSIDE])).is_soft
    assert mask_of_tensor(soft) is soft


def test_every_family_has_a_node_with_its_own_parameters(comfy: Comfy) -> None:
    families = {entry.item.name for entry in registry().entries("backbone")}
    assert families == {name.removeprefix("headrouter.load.") for name in comfy.schemas if ".load." in name}
    fields = [one.id for one in comfy.schemas["headrouter.load.flux"].inputs]
    assert fields == ["model", *part_class("backbone", "flux").model_fields, "max_rows"]
