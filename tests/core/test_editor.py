"""Editor on the toy model: what a user gets, and what a user is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_inversions.euler import Euler
from headrouter_inversions.rf import RFInversion
from PIL import Image

from headrouter.attention.rows import Row
from headrouter.editing.editor import Editor
from headrouter.editing.record_file import RECORD, read_plain
from headrouter.editing.sheet import edit_sheet
from headrouter.errors import HeadRouterError, IncompatibleError, InvalidInputError, UnknownNameError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.word_maps import WordMaps
from headrouter.sampling.engine import Engine
from headrouter.sampling.inversion import RunInputs
from headrouter.sampling.noise import Noise
from headrouter.testing.toy import ToyMMDiT


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).random((30, 46, 3)) * 255
    return Image.fromarray(pixels.astype(np.uint8))


def editor(*parts: Any, **values: Any) -> Editor:
    return Editor(ToyMMDiT(), *parts, progress=False, **values)


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image)


def test_names_and_objects_compose_alike(picture: Image.Image) -> None:
    by_name = editor("rf", "headrouter").edit(picture, "a blue dog", "a red cat", seed=1)
    by_object = editor(RFInversion(), [HeadRouter()]).edit(picture, "a blue dog", "a red cat", seed=1)
    assert np.array_equal(pixels(by_name.image), pixels(by_object.image))
    assert by_name.image.size == picture.size == (46, 30)


def test_a_result_carries_its_diagnostics(picture: Image.Image) -> None:
    result = editor().edit(picture, ["a blue dog", "two dogs here"], "a red cat", steps=4)
    assert len(result.images) == 2 and result.image is result.images[0]
    assert result.head_weights.shape == (2, 4, 3, 4)
    grid = (24 // 4, 40 // 4)
    assert result.text_map("dog", prompt=0).shape == grid
    assert (result.text_map("dog") > 0).all() and float(result.text_map("dog").max()) < 1
    assert not torch.equal(result.text_map("dogs", prompt=1), result.text_map("dog", prompt=0))
    assert result.cost.calls == 8 and result.cost.rows == 4 + 4 * 2 * 3
    with pytest.raises(InvalidInputError, match=r"'cat' is not in the prompt 'a blue dog'\. Its words: a, blue, dog"):
        result.text_map("cat")
    with pytest.raises(InvalidInputError, match="`prompt` must be 0 to 1, got 2"):
        result.text_map("dog", prompt=2)
    for word in (None, 3, ["dog"], b"dog"):
        with pytest.raises(InvalidInputError, match="`word` must be text, a word of the prompt 'a blue dog'"):
            result.text_map(word)  # type: ignore[arg-type]
    for number in (None, "0", 0.0, True, -1):
        for call in (
            lambda number: result.text_map("dog", number),
            result.mask,
            lambda number: edit_sheet(result, number),
        ):
            with pytest.raises(InvalidInputError, match="`prompt` must be 0 to 1, got"):
                call(number)
    assert torch.equal(result.text_map("dog", np.int64(0)), result.text_map("dog"))  # type: ignore[arg-type]
    for word in ("", " ", "!", "do"):
        with pytest.raises(InvalidInputError, match=r"`word` .* is not in the prompt"):
            result.text_map(word)


def test_word_maps_are_the_mean_attention() -> None:
    """One step, all layers: by explicit softmax over the query and key that each layer computes."""
    toy = ToyMMDiT()
    projected: list[tuple[torch.Tensor, ...]] = []
    for block in toy.blocks:
        split = block.split
        block.split = lambda tokens, split=split: projected.append(split(tokens)) or projected[-1]
    (prompt,) = toy.encode_prompts(["a blue dog"])
    noise = Noise([0], toy.latent_shape(16, 12), toy.device)
    inputs = RunInputs(tuple(toy.sigmas(1, 16, 12).tolist()), noise("start", 0), noise)
    row = Row(prompt, prompt, 1.0, edit=0)
    maps = Engine(toy).sample(Euler(), [WordMaps()], [row], inputs, phase="generate").diagnostics[0]["text_maps"]
    shares = []
    for text, image in zip(projected[0::2], projected[1::2], strict=True):
        query, key = torch.cat([text[0], image[0]], dim=2), torch.cat([text[1], image[1]], dim=2)
        share = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        shares.append(share[0, :, 8:, :3].mean(dim=0).T.reshape(3, 3, 4))
    assert len(shares) == 3
    assert torch.allclose(maps[0], torch.stack(shares).mean(dim=0), atol=1e-6)


def test_edits_in_groups_equal_edits_together(picture: Image.Image) -> None:
    prompts = ["a blue dog", "a tall tree there", "one"]
    together = editor().edit(picture, prompts, "a red cat", steps=3)
    groups = editor(max_rows=2).edit(picture, prompts, "a red cat", steps=3)
    for one, other in zip(together.images, groups.images, strict=True):
        assert np.abs(pixels(one).astype(int) - pixels(other)).max() <= 1
    assert groups.cost.calls == 3 + 3 * 3 and groups.head_weights.shape == together.head_weights.shape
    assert torch.allclose(groups.text_map("tree there", prompt=1), together.text_map("tree there", prompt=1), atol=1e-5)


def test_a_second_prompt_does_not_change_the_first_edit(picture: Image.Image) -> None:
    alone = editor().edit(picture, "a blue dog", "a red cat", steps=4)
    beside = editor().edit(picture, ["a blue dog", "a tree"], "a red cat", steps=4)
    assert np.abs(pixels(alone.image).astype(int) - pixels(beside.images[0])).max() <= 1


def test_reconstruction_and_full_control(picture: Image.Image) -> None:
    kept = editor(RFInversion(eta=1.0, start=0, stop=1.0), None)
    found = kept.reconstruct(picture, size=(44, 28))
    result = kept.edit(picture, "a blue dog", size=(44, 28))
    assert np.array_equal(pixels(result.image), pixels(found.image)), "η = 1 throughout returns the picture"
    assert found.psnr > editor(RFInversion(eta=0.0), None).reconstruct(picture, size=(44, 28)).psnr
    assert np.array_equal(pixels(result.reconstruction), pixels(found.image))
    assert result.cost.calls == result.record.edit.steps, "the inversion alone; no call while the controller is full"


def test_generation_shares_its_noise(picture: Image.Image) -> None:
    first, again = editor().generate(["a red cat", "a red cat"], seed=5)
    assert first.size == (32, 32) and np.array_equal(pixels(first), pixels(again))
    assert not np.array_equal(pixels(first), pixels(editor().generate("a red cat", seed=6)[0]))
    with pytest.raises(IncompatibleError, match="no source"):
        editor().generate("a red cat", method="headrouter")


def test_one_inversion_serves_several_edits(picture: Image.Image) -> None:
    tool = editor()
    kept = tool.invert(picture, "a red cat", seed=2)
    direct = tool.edit(picture, "a blue dog", "a red cat", seed=2)
    shared = tool.edit(picture, "a blue dog", "a red cat", seed=2, start=kept)
    assert np.array_equal(pixels(direct.image), pixels(shared.image))
    assert shared.cost.calls == direct.cost.calls - kept.cost.calls
    with pytest.raises(InvalidInputError, match="by its seed"):
        tool.edit(picture, "a blue dog", "a red cat", seed=3, start=kept)
    with pytest.raises(InvalidInputError, match="by its picture, size"):
        tool.edit(picture.rotate(90), "a blue dog", "a red cat", seed=2, start=kept, size=(40, 28))


def test_presets_scale_their_steps_and_yield_to_what_the_user_sets(picture: Image.Image) -> None:
    def controller(parts: Any, **values: Any) -> dict[str, Any]:
        inversion = editor(parts).edit(picture, "a dog", preset="glasses", **values).record.inversion
        return {name: inversion.parameters[name] for name in ("start", "stop", "eta")}

    assert controller("rf", steps=28) == {"start": 6, "stop": 25, "eta": 0.7}
    assert controller("rf", steps=14) == {"start": 3, "stop": 12, "eta": 0.7}
    assert controller(RFInversion(eta=0.2), steps=14) == {"start": 3, "stop": 12, "eta": 0.2}
    assert controller("rf", steps=14, keep=0.5)["eta"] == 0.5


def test_knobs_reach_the_part_that_has_them(picture: Image.Image) -> None:
    record = editor().edit(picture, "a dog", keep=0.3, push=0.7, steps=3).record
    assert (record.inversion.parameters["eta"], record.methods[0].parameters["gamma"]) == (0.3, 0.7)
    with pytest.raises(IncompatibleError, match="`keep` has no meaning here"):
        editor("euler").edit(picture, "a dog", keep=0.3)
    with pytest.raises(
        InvalidInputError, match=r"`keep` cannot be 3\.0: `eta`: Input should be less than or equal to 1 \(got 3"
    ):
        editor().edit(picture, "a dog", keep=3)


def test_a_saved_edit_says_everything(picture: Image.Image, tmp_path: Path) -> None:
    result = editor().edit(picture, ["a blue dog", "a tree"], "a red cat", steps=3, preset="stylization", seed=4)
    folder = result.save(tmp_path / "deep" / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["edit-0.png", "edit-1.png", "result.json", "source.png"]
    assert np.array_equal(pixels(Image.open(folder / "edit-1.png")), pixels(result.images[1]))
    record = read_plain(folder / RECORD)
    assert record["edit"] == {
        "source_prompt": "a red cat",
        "prompt": ["a blue dog", "a tree"],
        "negative_prompt": "",
        "guidance": 3.0,
        "steps": 3,
        "seed": 4,
        "size": [40, 24],
        "maps": True,
    }
    assert record["inversion"]["stop"] == 1 and record["methods"][0]["name"] == "headrouter"
    json.dumps(record)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"prompt": ""}, InvalidInputError, "`prompt` must say what the picture shall show"),
        ({"prompt": ["a dog", " "]}, InvalidInputError, "`prompt` must say"),
        ({"prompt": []}, InvalidInputError, "`prompt` must say"),
        ({"prompt": "one two three four five six seven eight nine"}, InvalidInputError, r"cut: \['nine'\]"),
        ({"guidance": -1}, InvalidInputError, "`guidance`: Input should be"),
        ({"guidance": float("nan")}, InvalidInputError, "`guidance`: Input should be"),
        ({"steps": 0}, InvalidInputError, "`steps`: Input should be greater than or equal to 1"),
        ({"steps": 2.5}, InvalidInputError, "`steps`"),
        ({"size": (30, 28)}, InvalidInputError, "`size` must be positive multiples of 4 pixels, got 30x28"),
        ({"size": "big"}, InvalidInputError, "`size`: Input"),
        ({"seed": "x"}, InvalidInputError, "`seed`: Input"),
        ({"preset": "stylisation"}, UnknownNameError, "Did you mean 'stylization'"),
        ({"image": "nowhere.png"}, InvalidInputError, "nowhere.png"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    picture: Image.Image, values: dict[str, Any], kind: type[HeadRouterError], message: str
) -> None:
    given = {"image": picture, "prompt": "a dog", **values}
    with pytest.raises(kind, match=message):
        editor().edit(given.pop("image"), given.pop("prompt"), **given)


@pytest.mark.parametrize(
    ("parts", "values", "message"),
    [
        (("euler",), {"preset": "age"}, "gives values to the inversion 'rf', which takes no part here"),
        (("rvf",), {}, "unknown inversion 'rvf'"),
        (("rf", "headruoter"), {}, "Did you mean 'headrouter'"),
        ((3,), {}, "`inversion` must be a name or an Inversion object, got 3"),
    ],
)
def test_impossible_parts_are_refused(picture: Image.Image, parts: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(HeadRouterError, match=message):
        editor(*parts).edit(picture, "a dog", **values)


def test_misfits_are_refused_by_name(picture: Image.Image) -> None:
    class Wordless(ToyMMDiT):  # type: ignore[misc]
        @property
        def provides(self) -> frozenset[str]:
            return frozenset({"joint-attention", "guidance"})

    with pytest.raises(IncompatibleError, match="'headrouter' with these parameters needs prompt-words, text-stream"):
        Editor(Wordless(), progress=False)
    wordless = Editor(Wordless(), "rf", HeadRouter(keys="all", rho=0.0), progress=False)
    result = wordless.edit(picture, "a dog", steps=2)
    with pytest.raises(InvalidInputError, match="no `text_maps`"):
        result.text_map("dog")


def test_max_rows_holds_a_source_and_an_edit() -> None:
    with pytest.raises(InvalidInputError, match="`max_rows` must be at least 2"):
        editor(max_rows=1)


class Cancelled(Exception):
    pass


def test_a_function_is_called_after_each_step_and_may_end_the_run(picture: Image.Image) -> None:
    calls: list[Any] = []
    editor = Editor(ToyMMDiT(), "rf", "none", progress=lambda *step: calls.append(step))
    asked: dict[str, Any] = {"prompt": "a red square", "source_prompt": "a square", "steps": 2, "maps": False}
    whole = editor.edit(picture, **asked)
    assert calls == [("invert", 1, 2), ("invert", 2, 2), ("sample", 1, 2), ("sample", 2, 2)]

    def cancel(phase: str, done: int, total: int) -> None:
        if phase == "sample":
            raise Cancelled

    editor.progress = cancel
    with pytest.raises(Cancelled):
        editor.edit(picture, **asked)
    editor.progress = False
    assert editor.edit(picture, **asked).image.tobytes() == whole.image.tobytes()


def test_progress_is_a_truth_value_or_a_function() -> None:
    with pytest.raises(InvalidInputError, match="`progress` must be True, False, or a function"):
        Editor(ToyMMDiT(), "rf", "none", progress="yes")  # type: ignore[arg-type]


def test_an_editor_with_other_parts_shares_the_model(picture: Image.Image) -> None:
    first = editor("rf", "headrouter")
    other = first.with_parts("euler", None)
    assert (
        other.backbone is first.backbone and first.inversion != other.inversion and first.methods and not other.methods
    )
    asked: dict[str, Any] = {"prompt": "a blue dog", "source_prompt": "a red cat", "steps": 2}
    expected = Editor(first.backbone, "euler", None, progress=False).edit(picture, **asked)
    assert np.array_equal(pixels(other.edit(picture, **asked).image), pixels(expected.image))
    with pytest.raises(IncompatibleError, match="`method` 'grag'"):
        first.with_parts("euler", "grag")
