"""Without a browser: what a page offers, what it refuses, what it writes, and how it ends a run."""

import copy
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import yaml
from headrouter_app import choices, command, serving, views, writing
from headrouter_app.asking import Asked, Field, job_of
from headrouter_app.examples import examples
from headrouter_app.layout import brush
from headrouter_app.layout.page import page, repainted, restored
from headrouter_app.layout.widgets import widget
from headrouter_app.running import KEPT, Cancelled, Entry, Job, Studio, Visit
from headrouter_app.serving import Server, in_loop, served
from headrouter_app.settings import Settings, part_from, refuse_reaching_out
from PIL import Image

from headrouter.cli import main
from headrouter.config.controls import Control, given
from headrouter.editing.assembly import part_class
from headrouter.editing.editor import Editor
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.file.reading import read_experiment
from headrouter.imaging.picture import load_picture
from headrouter.masks.part import described, expression_of, mask_of
from headrouter.plugins import registry
from headrouter.plugins.specifications import KINDS, MaskSpec, hookimpl
from headrouter.testing.masks import ConstantMask
from headrouter.testing.toy import ToyMMDiT


def plain(**knobs: Any) -> Settings:
    item = examples()[0]
    inversion = part_from("inversion", "rf", {"eta": 0.5, "stop": 1})
    methods = part_from("method", "headrouter", {"gamma": 0.3}), part_from("method", "image-tokens", {"keys": "words"})
    rest: dict[str, Any] = {
        "source_prompt": item.source_prompt,
        "seeds": (3,),
        "knobs": {"steps": 2, "keep": 0.6, **knobs},
    }
    return Settings((item.prompt, "a 'red' star"), inversion, methods=methods, **rest)


@pytest.fixture(scope="module")
def drawn() -> Settings:
    painted = Image.new("L", (64, 64))
    painted.paste(255, (0, 0, 30, 64))
    known = plain(paste=True, size=(64, 64))
    operator = part_from("operator", "mask", {"strength": 0.5})
    return Settings(**{**vars(known), "operators": (operator,), "mask": mask_of(painted)})


def test_a_part_with_untouched_controls_is_the_part_by_name(studio: Studio) -> None:
    seen = 0
    for kind in KINDS[1:]:
        for name in choices.offered(studio, kind):
            controls = choices.controls(kind, name)
            shown = {one.name: one.shown(one.default) if one.kind == "value" else one.default for one in controls}
            left = given(controls, {one.name: shown[one.name] for one in controls if not one.required})
            assert left == {}, name
            seen += len(controls)
    assert seen > 100
    assert choices.default(studio, "inversion") in choices.offered(studio, "inversion")
    assert not {"segmentation", "region"} & {*choices.offered(studio, "mask")}  # a function by name; a data set
    assert "profile-routing" not in choices.offered(studio, "method")  # a file


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "..\\secret",
        "os:system",
        "pyproject.toml",
        ["words", "a/b"],
        {"name": "x", "picture": "data:x"},
        "picture('/x')",
        "segmentation(function='os:getcwd')",
        "/." * 1000 + "/etc/passwd",
        {"/etc/passwd"},
    ],
)
def test_a_visitor_names_no_file_and_no_function(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(InvalidInputError, match=r"`words\.ranking` names a file or a function"):
        refuse_reaching_out("words.ranking", value)


def test_words_numbers_and_expressions_of_masks_are_no_files() -> None:
    for value in (
        "a cat " * 1000,
        "words & grow(velocity, 0.1)",
        ["a cat", "dog"],
        3,
        None,
        True,
        "",
        {"name": "words"},
    ):
        refuse_reaching_out("x", value)


@pytest.mark.parametrize(
    "text", ["words", "~(words | velocity(form='short')) & grow(attention, 0.1)", "harden(words, at=0.4)"]
)
def test_a_mask_is_read_from_its_expression(text: str) -> None:
    mask = mask_of(text)
    assert described(mask_of(expression_of(mask))) == described(mask)


def test_a_mask_of_a_plug_in_is_written_as_a_word_or_refused() -> None:
    class Plugin:
        headrouter_api = 1

        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def register_masks(self, register: Callable[[MaskSpec], None]) -> None:
            register(MaskSpec(self.name, "headrouter.testing.masks:ConstantMask"))

    def expression(name: str) -> str:
        plugin = Plugin(name)
        registry().register(plugin)
        try:
            text = expression_of(mask_of("words") & ConstantMask(value=0.3))
            assert described(mask_of(text))["of"][1]["value"] == 0.3
            return text
        finally:
            registry().unregister(plugin)

    assert expression("constant-mask") == "(words & constant_mask(value=0.3))"
    with pytest.raises(InvalidInputError, match="cannot be written in an expression"):
        expression("words")


@dataclass(eq=False)
class Shown:
    """Stands for a component of the page."""

    elem_id: str


class Form:
    """Holds a page with some parts chosen, and what a visitor entered."""

    def __init__(self, source: bool = True, references: bool = False, inversion: str = "rf"):
        def fields(controls: Sequence[Control], *names: str) -> list[Field]:
            return [Field(one, Shown(one.name)) for one in controls if one.name in names]

        names = ("visit", "shown", "ordered", "restored", "picture", "source", "prompts", "references", "brush")
        self.asked = Asked(**{name: Shown(name) for name in names})
        self.asked.source = self.asked.source if source else None
        self.asked.references = self.asked.references if references else None
        self.asked.knobs = fields(choices.knobs(), "steps", "seed", "paste")
        self.asked.parts = {"inversion": Shown("part-inversion"), "mask": Shown("part-mask")}
        self.dials = fields(choices.dials([("inversion", inversion)]), "preset", "keep")
        self.parameters: Any = {
            ("inversion", inversion): fields(choices.controls("inversion", inversion), "eta", "null_instruction"),
            ("mask", "words"): fields(choices.controls("mask", "words"), "theta"),
        }
        self.entered: dict[str, Any] = {"picture": examples()[0].picture(), "source": " a star "}
        self.entered |= {"prompts": "a red star\n\na cross", "steps": "12", "seed": "5", "paste": False, "brush": None}
        self.entered |= {"part-inversion": inversion, "part-mask": "words", "theta": 0.4, "eta": 0.7}
        self.entered |= {"keep": "", "preset": None, "references": None, "null_instruction": ""}

    def job(self, **entered: Any) -> Job:
        """Return what is asked after more was entered."""
        whole = {**self.entered, **{name.replace("_of_", "-"): value for name, value in entered.items()}}
        own = [one.component for one in [*self.dials, *chain(*self.parameters.values())]]
        data = {one: whole[one.elem_id] for one in (*self.asked.written, *self.asked.pictures, *own)}
        return job_of(self.asked, data, self.dials, self.parameters)


def half_painted() -> Image.Image:
    layer = Image.new("RGBA", (8, 8))
    layer.paste((255, 255, 255, 255), (0, 0, 4, 8))
    return layer


def test_controls_become_settings() -> None:
    form = Form()
    settings = form.job().settings
    assert settings.prompts == ("a red star", "a cross") and settings.source_prompt == "a star"
    assert (settings.seeds, settings.knobs, settings.methods) == ((5,), {"steps": 12}, ())
    assert settings.inversion == part_class("inversion", "rf")(eta=0.7)
    assert settings.mask is not None and expression_of(settings.mask) == "words(theta=0.4)"
    for match, entered in {
        "`steps`": {"steps": "0"},
        "`keep`": {"keep": "much"},
        "`picture` is not there yet": {"picture": None},
        "`target prompt` must say": {"prompts": " "},
        "`seed` must be a whole number": {"seed": "1.5"},
        "`seed`: must hold each number once": {"seed": "1, 1"},
        "2 prompts with 9 seeds are 18 edits": {"seed": "1 2 3 4 5 6 7 8 9"},
    }.items():
        with pytest.raises(InvalidInputError, match=match):
            form.job(**entered)
    del form.parameters["mask", "words"]
    with pytest.raises(InvalidInputError, match="paint where"):
        form.job(part_of_mask="picture")
    settings = form.job(part_of_mask="picture", brush={"layers": [half_painted()]}).settings
    assert settings.mask is not None and writing.mask_text(settings.mask) == "mask-0.png"


def test_every_control_shows_again_what_was_entered(studio: Studio) -> None:
    def another(control: Control) -> Any:
        """Return a content that differs from the default."""
        if control.kind == "boolean":
            return True if control.optional else not control.default
        if control.kind == "choice":
            return next(one for one in control.choices if one != control.default)
        if control.kind not in ("integer", "number") or control.default is None:
            return "0.375"
        high = control.default + 2 if control.maximum is None else control.maximum
        return high if control.default != high else control.minimum

    every = {
        f"{kind}-{name}": choices.controls(kind, name) for kind in KINDS[1:] for name in choices.offered(studio, kind)
    }
    for name, controls in {**every, "knobs": choices.knobs()}.items():
        for control in controls:
            content = another(control)
            made = widget(control, "x", {"x": content})
            assert made.preprocess(made.value) == content != widget(control, "x").value, (name, control.name)


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the brush answer with its content alone."""
    monkeypatch.setattr(brush, "editor", lambda picture, layers: {"layers": layers})


@pytest.mark.usefixtures("lying")
@pytest.mark.parametrize("mask", ["words", "picture", "none"])
def test_an_edit_that_was_asked_for_fills_in_the_page_again(mask: str) -> None:
    form = Form()
    if mask != "words":
        del form.parameters["mask", "words"]
    first = form.job(part_of_mask=mask, brush={"layers": [half_painted()]}, seed="3, 4", keep="0.3", paste=True)
    result: Any = SimpleNamespace()  # which is not looked at
    own = Visit(entered={"keep": "0.9", "eta": 0.1})
    found = restored(form.asked, own, Entry(1, first, result), 4)
    assert found.pop(form.asked.restored) == 5 and {*found} == {*form.asked.written, form.asked.picture}
    form.entered = {**own.entered, **{one.elem_id: value for one, value in found.items()}}
    form.entered["brush"] = brush.begun(own, "", mask) if mask == "picture" else None
    second = form.job()
    assert vars(second.settings) == vars(first.settings) and second.picture == first.picture


@pytest.mark.usefixtures("lying")
def test_the_brush_begins_anew_for_another_picture_alone(tmp_path: Path) -> None:
    own, asked = Visit(), Form().asked
    paths = [str(tmp_path / f"{colour}.png") for colour in ("red", "blue")]
    for path in paths:
        Image.new("RGB", (16, 16), Path(path).stem).save(path)
    assert brush.begun(own, paths[0], "words").visible is brush.begun(own, None, "picture").visible is False
    for path in paths:
        assert brush.begun(own, path, "picture") == {"layers": []}
        assert brush.begun(own, path, "picture") == gr.skip()  # what is painted since stays
    result: Any = SimpleNamespace(source=Image.new("RGB", (8, 8)), mask=lambda: half_painted().getchannel("A"))
    asked.parts["mask"].choices = [("words", "words"), ("picture", "picture")]
    assert repainted(asked, own, Entry(1, Form().job(), result), 2) == ("picture", 3)
    assert brush.begun(own, paths[1], "words").visible is False  # the mask was not chosen yet
    (layer,) = brush.begun(own, paths[1], "picture")["layers"]
    assert layer.getchannel("A").tobytes() == half_painted().getchannel("A").tobytes()
    assert brush.begun(own, paths[1], "picture") == gr.skip()


def test_command_and_python_make_the_same_pictures(
    studio: Studio, drawn: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    result = studio.edit(Job(examples()[0].picture(), drawn))
    result.save(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(writing.command(studio, drawn))
    assert words[0] == "headrouter" and main([*words[1:], "--no-progress"]) == 0
    exec(writing.python(studio, drawn).replace('"out"', '"again"'), {})
    for number, picture in enumerate(result.images):
        for folder in ("out", "again"):
            assert np.array_equal(np.asarray(load_picture(f"{folder}/edit-{number}.png")), np.asarray(picture)), folder


def test_the_yaml_is_an_experiment_of_the_same_plan(studio: Studio, drawn: Settings, tmp_path: Path) -> None:
    text = writing.experiment(studio, drawn)
    rows = [line[4:] for line in text.splitlines() if line.startswith("#   {")]
    (tmp_path / "edits.jsonl").write_text("\n".join(rows))
    examples()[0].picture().save(tmp_path / "source.png")
    whole = yaml.safe_load(text)
    whole["dataset"]["folder"] = str(tmp_path)
    (tmp_path / "edit.yaml").write_text(yaml.safe_dump(whole))
    experiment = read_experiment(tmp_path / "edit.yaml")
    (one,) = experiment.configurations
    assert isinstance(one, Configuration) and list(experiment.seeds) == [3]
    known = studio.editor.with_parts(drawn.inversion, drawn.methods, operators=drawn.operators)
    assert one.plan.steps == 2 and one.plan.paste and one.inversion.eta == 0.6 and one.plan.methods == known.methods  # type: ignore[attr-defined]
    assert one.mask == drawn.mask
    assert [item.prompt for item in experiment.dataset.items()] == list(drawn.prompts)


def test_a_run_is_cancelled_at_a_step_and_the_next_one_works(studio: Studio) -> None:
    picture, visit, seen = examples()[0].picture(), Visit(), list[tuple[str, int, int]]()
    visit.ask(Job(picture, plain()))
    with pytest.raises(InvalidInputError, match="waits or runs already"):
        visit.ask(Job(picture, plain()))

    def show(phase: str, done: int, total: int) -> None:
        seen.append((phase, done, total))
        visit.cancel()

    with pytest.raises(Cancelled, match="after step 2 of 2"), visit.asked(show) as job:
        studio.edit(job)
    assert len(seen) == 1 and visit.job is None and not visit.cancel()
    visit.ask(Job(picture, plain()))
    assert visit.cancel()
    with pytest.raises(Cancelled, match="before it began"), visit.asked(show):
        raise AssertionError("it waits no longer")
    visit.ask(Job(picture, plain()))
    with visit.asked(lambda *step: None) as job:
        result = studio.edit(job)
    for _ in range(KEPT + 2):
        entry = visit.keep(job, result)
    assert len(visit.entries) == KEPT and entry.number in visit.entries
    assert copy.deepcopy(visit).entries == {}
    assert views.words_of(result, 0)[0] == "yellow"
    assert views.steered_blocks(result, 0) and views.head_weights(result, 0, 0).width > 100


def test_what_is_painted_is_the_mask() -> None:
    layer = Image.new("RGBA", (8, 8))
    layer.paste((255, 255, 255, 255), (0, 0, 4, 8))
    mask = views.drawn_mask([layer], (16, 16))
    assert mask is not None and np.asarray(mask)[:, :8].all() and not np.asarray(mask)[:, 8:].any()
    assert views.drawn_mask([Image.new("RGBA", (8, 8))], (8, 8)) is None
    again = views.drawn_mask([views.as_layer(mask)], mask.size)
    assert again is not None and again.tobytes() == mask.tobytes()


class Instructed(ToyMMDiT):
    @property
    def provides(self) -> frozenset[str]:
        return super().provides | {"instructions"}


def labels(studio: Studio) -> dict[str, bool]:
    """Return the labels of what a page asks for, and whether each is to be seen."""
    shown = [one.get("props", {}) for one in in_loop(lambda: page(studio)).config["components"]]
    return {str(one.get("label")).partition(",")[0]: bool(one.get("visible")) for one in shown}


def test_a_page_asks_for_what_the_model_takes(studio: Studio) -> None:
    both, alone = (
        Studio(Editor(toy, None, None, progress=False), "toy", None, {}) for toy in (ToyMMDiT(), Instructed())
    )
    captions, instructed = labels(both), labels(alone)
    assert captions["source prompt"] and captions["target prompt"] and not captions["further reference pictures"]
    assert instructed["instruction"] and instructed["further reference pictures"]
    assert not {"source prompt", "target prompt"} & {*instructed}
    assert "further reference pictures" not in labels(studio)
    assert [choices.default(one, "method") for one in (both, alone)] == ["headrouter", "none"]
    assert choices.offered(alone, "inversion") == ["instruct"] and "instruct" in choices.offered(both, "inversion")


def test_an_instruction_takes_further_pictures_and_no_source_prompt(tmp_path: Path) -> None:
    form = Form(references=True, inversion="instruct")
    del form.parameters["mask", "words"]
    further = Image.new("RGB", (16, 16), "red")
    further.save(tmp_path / "red.png")
    asked = {"part_of_mask": "none", "references": [(str(tmp_path / "red.png"), None)], "null_instruction": "keep it"}
    job = form.job(**asked, prompts="make it red", seed="0, 1", keep="")
    settings, toy = job.settings, Studio(Editor(Instructed(), None, None, progress=False), "toy", None, {})
    assert settings.source_prompt == "" and settings.references[0].tobytes() == further.tobytes()
    settings.knobs["steps"] = 1
    result = toy.edit(job)
    assert result.seeds == (0, 1) and len(result.references) == 1
    names = {path.name for path in result.save(tmp_path / "out").iterdir()}
    assert "--reference reference-1.png" in writing.command(toy, settings) and "reference-1.png" in names
    assert "references=['reference-1.png']" in writing.python(toy, settings)
    assert writing.command(toy, settings).count("--seed") == 2 and "seed=[0, 1]" in writing.python(toy, settings)
    with pytest.raises(InvalidInputError, match="no reference picture but the edited one"):
        writing.experiment(toy, settings)
    assert Form(references=True).job(references=asked["references"]).settings.references == ()


@pytest.mark.parametrize(("host", "exposed"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_sigterm_ends_the_page_and_removes_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, exposed: bool
) -> None:
    @contextmanager
    def beside(*_: object, **__: object) -> Iterator[Server]:
        with TemporaryDirectory(dir=tmp_path) as folder:
            server = Server("", folder)
            monkeypatch.setattr(Server, "wait", lambda self: signal.raise_signal(signal.SIGTERM))
            yield server

    monkeypatch.setattr(Studio, "load", lambda *_: None)
    monkeypatch.setattr(serving, "served", beside)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["app", "--host", host]) == 128 + signal.SIGTERM
        assert ("without a password" in capsys.readouterr().out) == exposed
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not [*tmp_path.iterdir()]


def test_without_gradio_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["app"]) == 2
    assert "pip install 'headrouter[app]'" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["app", "--port", "70000"]) == 2
    assert "`--port` must be" in capsys.readouterr().err
    assert main(["app", "--port", "70000", "--no-progress"]) == 2  # which would have no effect
    assert "--no-progress" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("port", "where"),
    [(7860, "`--port` 7860 of `--host` 10.0.0.1 cannot"), (None, "`--host` 10.0.0.1, on any port, cannot")],
)
def test_an_address_that_cannot_be_had_is_said(studio, monkeypatch, port, where) -> None:
    """With a start that fails in gradio's place, which leaves a socket open where it fails."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_NUM_PORTS", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # put back behind it

    def launch(*_: object, **__: object) -> None:
        raise OSError("Cannot find empty port")

    monkeypatch.setattr(gr.Blocks, "launch", launch)
    with pytest.raises(InvalidInputError, match=f"^{where} be listened at"), served(studio, "10.0.0.1", port):
        pass
