"""Without a browser: what a page offers, what it refuses, what it writes, and how it ends a run."""

import copy
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from headrouter_app import choices, command, serving, views, writing
from headrouter_app.asking import Asked, Field, settings_of
from headrouter_app.examples import examples
from headrouter_app.page import page
from headrouter_app.running import KEPT, Cancelled, Job, Studio, Visit
from headrouter_app.serving import Server, in_loop
from headrouter_app.settings import Settings, part_from, refuse_reaching_out
from PIL import Image

from headrouter.cli import main
from headrouter.config.controls import Control, given
from headrouter.editing.assembly import part_class
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import Configuration
from headrouter.experiments.file.reading import read_experiment
from headrouter.imaging.picture import load_picture
from headrouter.masks.part import described, expression_of, mask_of
from headrouter.plugins import registry
from headrouter.plugins.specifications import KINDS, MaskSpec, hookimpl
from headrouter.testing.masks import ConstantMask


def plain(**knobs: Any) -> Settings:
    item = examples()[0]
    inversion = part_from("inversion", "rf", {"eta": 0.5, "stop": 1})
    methods = part_from("method", "headrouter", {"gamma": 0.3}), part_from("method", "image-tokens", {"keys": "words"})
    rest: dict[str, Any] = {"source_prompt": item.source_prompt, "seed": 3, "knobs": {"steps": 2, "keep": 0.6, **knobs}}
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
    assert "segmentation" not in choices.offered(studio, "mask")  # a function by name


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


def test_controls_become_settings(studio: Studio) -> None:
    def fields(controls: Sequence[Control], *names: str) -> list[Field]:
        return [Field(one, one.name) for one in controls if one.name in names]

    asked = Asked(
        "visit", "shown", "picture", "source", "prompts", fields(choices.knobs(), "steps", "seed"), brush="brush"
    )
    asked.parts = {"mask": "part-mask"}
    data = {"picture": examples()[0].picture(), "source": " a star ", "prompts": "a red star\n\na cross", "steps": "12"}
    data |= {"seed": 5, "part-mask": "words", "brush": None, "theta": 0.4, "eta": 0.7, "keep": "", "preset": None}
    inversion = fields(choices.controls("inversion", "rf"), "eta")
    parameters: Any = {
        ("inversion", "rf"): inversion,
        ("mask", "words"): fields(choices.controls("mask", "words"), "theta"),
    }
    dials = fields(choices.dials([("inversion", "rf")]), "preset", "keep")
    _, settings = settings_of(asked, data, dials, parameters)
    assert settings.prompts == ("a red star", "a cross") and settings.source_prompt == "a star"
    assert (settings.seed, settings.knobs, settings.methods) == (5, {"steps": 12}, ())
    assert settings.inversion == part_class("inversion", "rf")(eta=0.7)
    assert settings.mask is not None and expression_of(settings.mask) == "words(theta=0.4)"
    with pytest.raises(InvalidInputError, match="`steps`"):
        settings_of(asked, {**data, "steps": "0"}, dials, parameters)
    with pytest.raises(InvalidInputError, match="`keep`"):
        settings_of(asked, {**data, "keep": "much"}, dials, parameters)
    with pytest.raises(InvalidInputError, match="`picture` is not there yet"):
        settings_of(asked, {**data, "picture": None}, dials, parameters)
    with pytest.raises(InvalidInputError, match="paint where"):
        settings_of(asked, {**data, "part-mask": "picture"}, dials, {("inversion", "rf"): inversion})
    layer = Image.new("RGBA", (8, 8))
    layer.paste((255, 255, 255, 255), (0, 0, 4, 8))
    painted = {**data, "part-mask": "picture", "brush": {"layers": [layer]}}
    _, settings = settings_of(asked, painted, dials, {("inversion", "rf"): inversion})
    assert settings.mask is not None and writing.mask_text(settings.mask) == "mask-0.png"


def test_command_and_python_make_the_same_pictures(
    studio: Studio, drawn: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    result = studio.edit(examples()[0].picture(), drawn, Job(examples()[0].picture(), drawn))
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
    visit.ask(picture, plain())
    with pytest.raises(InvalidInputError, match="waits or runs already"):
        visit.ask(picture, plain())

    def show(phase: str, done: int, total: int) -> None:
        seen.append((phase, done, total))
        visit.cancel()

    with pytest.raises(Cancelled, match="after step 2 of 2"), visit.asked(show) as job:
        studio.edit(job.picture, job.settings, job)
    assert len(seen) == 1 and visit.job is None and not visit.cancel()
    visit.ask(picture, plain())
    assert visit.cancel()
    with pytest.raises(Cancelled, match="before it began"), visit.asked(show):
        raise AssertionError("it waits no longer")
    visit.ask(picture, plain())
    with visit.asked(lambda *step: None) as job:
        result = studio.edit(job.picture, job.settings, job)
    for _ in range(KEPT + 2):
        entry = visit.keep(plain(), result)
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


def test_a_model_of_instructions_has_no_source_prompt(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = {str(one.get("props", {}).get("label")) for one in in_loop(lambda: page(studio)).config["components"]}
    monkeypatch.setattr(Studio, "takes_instructions", True)
    asked = {str(one.get("props", {}).get("label")) for one in in_loop(lambda: page(studio)).config["components"]}
    assert {"source prompt", "target prompt"} <= captions
    assert "instruction" in asked and not {"source prompt", "target prompt"} & asked


def test_sigterm_ends_the_page_and_removes_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
        assert main(["app"]) == 128 + signal.SIGTERM
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
