"""Every feature, as something to do with a tiny pipeline of a kind of model. What cannot work raises a sentence.

``make features`` writes docs/features.md from what happens here; the test holds the two together.
"""

import contextlib
import importlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builders import PICTURE
from diffusers import hooks
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from headrouter_analysis.analyses.blocks import Masked, rank_blocks
from headrouter_analysis.analyses.heads import analyse_heads
from headrouter_analysis.analyses.pairs import Pair
from headrouter_analysis.methods.dropout import HeadDropout
from headrouter_analysis.methods.maps import AttentionMaps
from headrouter_analysis.methods.routing import ProfileRouting
from headrouter_analysis.methods.swap import HeadSwap
from headrouter_analysis.runs import Runs
from headrouter_blending.method import LocalBlend
from headrouter_chroma.parameters import ChromaParameters
from headrouter_chroma.testing import tiny_chroma
from headrouter_diffusers.testing import tiny_flux, tiny_sd3, tiny_sd35
from headrouter_flux.parameters import FluxParameters
from headrouter_flux2.parameters import Flux2Parameters, KleinParameters
from headrouter_flux2.testing import tiny_flux2, tiny_klein
from headrouter_flux_kontext.parameters import KontextParameters
from headrouter_flux_kontext.testing import tiny_kontext
from headrouter_injection.method import Injection
from headrouter_inversions.directedit import DirectEdit
from headrouter_inversions.euler import Euler
from headrouter_inversions.fireflow import FireFlow
from headrouter_inversions.flowedit import FlowEdit
from headrouter_inversions.instruct import Instruct
from headrouter_inversions.rf import RFInversion
from headrouter_inversions.rf_sde import RFInversionSDE
from headrouter_inversions.rf_solver import RFSolver
from headrouter_inversions.sdedit import SDEdit
from headrouter_krea2.parameters import Krea2Parameters
from headrouter_krea2.testing import tiny_krea2
from headrouter_operators.gate import Gate
from headrouter_operators.projection import Projection
from headrouter_ovis_image.parameters import OvisImageParameters
from headrouter_ovis_image.testing import tiny_ovis_image
from headrouter_qwen_image.parameters import QwenImageParameters
from headrouter_qwen_image.testing import tiny_qwen_image
from headrouter_qwen_image_edit.parameters import EditParameters
from headrouter_qwen_image_edit.testing import tiny_qwen_image_edit
from headrouter_sd3.parameters import SD3Parameters, SD35Parameters
from headrouter_z_image.parameters import ZImageParameters
from headrouter_z_image.testing import tiny_z_image
from PIL import Image

from headrouter import Editor, replay
from headrouter.editing.editor import Methods
from headrouter.errors import IncompatibleError
from headrouter.masks.attention import AttentionMask
from headrouter.masks.mask import NoMask
from headrouter.masks.words import WordsMask
from headrouter.methods.head_router.method import HeadRouter
from headrouter.testing import Generation

SOURCE, TARGET = "a photo of a cat", "a photo of a dog"

BACKBONES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "FLUX.1-dev": lambda: (FluxParameters(), tiny_flux()),
    "FLUX.1-dev, two-pass guidance": lambda: (FluxParameters(guidance_kind="two-pass"), tiny_flux()),
    "FLUX.1-schnell": lambda: (FluxParameters(), tiny_flux(guidance_embeds=False)),
    "SD3": lambda: (SD3Parameters(), tiny_sd3()),
    "SD3 without T5": lambda: (SD3Parameters(max_sequence_length=24), tiny_sd3(t5=False)),
    "SD3.5-medium": lambda: (SD35Parameters(), tiny_sd35()),
    "SD3.5-large, turbo": lambda: (SD35Parameters(), tiny_sd35(dual=False)),
}
"""The adapters that everything else is developed with."""

FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "Qwen-Image": lambda: (QwenImageParameters(), tiny_qwen_image()),
    "Z-Image": lambda: (ZImageParameters(), tiny_z_image()),
    "Ovis-Image": lambda: (OvisImageParameters(max_sequence_length=176), tiny_ovis_image()),
    "FLUX.2 klein": lambda: (KleinParameters(max_sequence_length=64), tiny_klein()),
    "Chroma": lambda: (ChromaParameters(), tiny_chroma()),
    "Krea 2": lambda: (Krea2Parameters(max_sequence_length=192), tiny_krea2()),
}
"""Further families of models, plug-ins that come along."""

INSTRUCTED: dict[str, Callable[[], tuple[Any, Any]]] = {
    "FLUX.1 Kontext": lambda: (KontextParameters(), tiny_kontext()),
    "Qwen-Image-Edit": lambda: (EditParameters(), tiny_qwen_image_edit()),
    "FLUX.2 dev, two references": lambda: (Flux2Parameters(max_sequence_length=192), tiny_flux2()),
}
"""Models that edit by instructions: the prompt is the instruction, without a source prompt. FLUX.2 takes captions too."""

COLUMNS = {**BACKBONES, **FAMILIES, **INSTRUCTED}

Parts = tuple[Any, Any]
SIZE = (48, 32)
FURTHER = PICTURE.transpose(Image.Transpose.ROTATE_180).resize((32, 48))


class ByInstructions:
    """An editor that is given no source prompt, and a further reference picture where the model takes several."""

    def __init__(self, tool: Editor):
        self._tool = tool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tool, name)

    def edit(self, image: Any, prompt: Any, source: str = "", **asked: Any) -> Any:
        several = self._tool.backbone.most_references > 1
        return self._tool.edit(image, prompt, references=[FURTHER] if several else [], **asked)

    def invert(self, image: Any, source: str = "", **asked: Any) -> Any:
        return self._tool.invert(image, **asked)


def plain_inversion(parts: Parts, steps: int = 3) -> Any:
    """The plain inversion of a kind of model; by instructions the source's prompt is the null instruction."""
    instructed = type(parts[0]) in (KontextParameters, EditParameters, Flux2Parameters)
    return Instruct(steps=steps, null_instruction=SOURCE) if instructed else Euler(steps=steps)


def editor(parts: Parts, inversion: Any = None, method: Methods = None, **values: Any) -> Any:
    return of_kind(parts, inversion, method, pipeline=parts[1], **values)


def of_kind(parts: Parts, inversion: Any = None, method: Methods = None, **values: Any) -> Any:
    chosen = inversion or plain_inversion(parts)
    tool = Editor(parts[0], chosen, method, progress=False, **values)
    return ByInstructions(tool) if chosen.takes_references else tool


def latents(
    parts: Parts, inversion: Any = None, method: Methods = None, operators: Any = None, **asked: Any
) -> np.ndarray[Any, Any]:
    """The edited picture as numbers."""
    tool = editor(parts, inversion, method, operators=operators)
    result = tool.edit(PICTURE, TARGET, SOURCE, size=SIZE, **asked)
    return np.asarray(result.image).astype(np.float64)


def steers(**values: Any) -> Callable[[Parts], None]:
    """A way of steering: it changes the edit; at zero strength the picture is the plain one to the bit."""

    def feature(parts: Parts) -> None:
        off = {"gamma": 0.0, "image_tokens": "off", "rho": 0.0}
        plain = latents(parts)
        neutral = HeadRouter(gamma=0.0, image_tokens="attention", alpha=2.0, nu=0.0, rho=0.0)
        assert np.array_equal(latents(parts, method=neutral), plain), "neutral steering must change nothing"
        steered = latents(parts, method=HeadRouter(**{**off, **values}))
        assert np.abs(steered - plain).max() >= 1, "steering must change the picture"

    return feature


def edits_by(inversion: Any) -> Callable[[Parts], None]:
    """An inversion: it edits, and its reconstruction is nearer to the picture than an edit of free generation."""

    def feature(parts: Parts) -> None:
        tool = editor(parts, inversion, HeadRouter())
        result = tool.edit(PICTURE, TARGET, SOURCE, size=SIZE)
        assert not np.array_equal(np.asarray(result.image), np.asarray(result.reconstruction))
        assert result.cost.calls > 0

    return feature


def changes_velocities(parts: Parts) -> None:
    """Operators change the edit, and at their neutral values no bit of it.

    Within a level by instructions: there the source's row is in the batch for them alone, and kernels may round by its size.
    """
    own = plain_inversion(parts)
    inversion, most = (own, 1) if own.takes_references else (FlowEdit(steps=2, last_steps=1.0), 0)
    operators = None, [Projection(strength=0.0), Gate(strength=0.0)], [Projection(), Gate(threshold=0.5)]
    plain, neutral, changed = (latents(parts, inversion, operators=some) for some in operators)
    assert np.abs(neutral - plain).max() <= most < np.abs(changed - plain).max()


def full_control(parts: Parts) -> None:
    """η = 1 in every step returns the picture as the autoencoder gives it back, without calling the model."""
    tool = editor(parts, RFInversion(steps=3, eta=1.0, stop=1.0))
    result = tool.edit(PICTURE, TARGET, size=SIZE)
    through = tool.backbone.decode(tool.backbone.encode_image(_pixels()))
    back = np.asarray(result.image).astype(float)
    assert np.abs(back - ((through[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).cpu().numpy()).max() < 1.5
    assert result.cost.calls == 3


def _pixels() -> torch.Tensor:
    return torch.from_numpy(np.array(PICTURE, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def generates(parts: Parts) -> None:
    first, second, again = editor(parts).generate([SOURCE, TARGET, SOURCE], seed=1, size=SIZE)
    assert first.size == (48, 32)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(again)).max() <= 1
    assert not np.array_equal(np.asarray(first), np.asarray(second))


def equals_the_stock_pipeline(parts: Parts) -> None:
    """Our picture of a prompt is the stock pipeline's, from the same seed."""
    ours = editor(parts).generate([SOURCE], seed=4, size=SIZE, guidance=2.0, steps=3)[0]
    backbone = editor(parts).backbone
    family = importlib.import_module(f"{type(backbone).__module__.partition('.')[0]}.testing")
    theirs = family.reference(backbone, Generation(SOURCE, "", 2.0, 4, 3, *SIZE, output="picture"))
    levels = (theirs[0].clamp(0, 1) * 255).round().permute(1, 2, 0).cpu().numpy()
    assert np.abs(np.asarray(ours).astype(float) - levels).max() <= 1


def several_edits(parts: Parts) -> None:
    prompts = [TARGET, "a red dog", "a red cat"]
    together = editor(parts, method=HeadRouter()).edit(PICTURE, prompts, SOURCE, size=SIZE)
    groups = editor(parts, method=HeadRouter(), max_rows=2).edit(PICTURE, prompts, SOURCE, size=SIZE)
    for one, other in zip(together.images, groups.images, strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1


def word_maps(parts: Parts) -> None:
    result = editor(parts, method=HeadRouter()).edit(PICTURE, TARGET, SOURCE, size=SIZE)
    grid = result.text_map("dog")
    assert grid.shape == (4, 6) and float(grid.min()) > 0 and float(grid.max()) < 1


def injects(*replace: Any) -> Callable[[Parts], None]:
    """Injection: it changes the edit; without steps, and between equal prompts, it changes nothing."""

    def feature(parts: Parts) -> None:
        plain, method = latents(parts), Injection(replace=replace, tau=1.0)
        assert np.array_equal(latents(parts, method=Injection(replace=replace, tau=0)), plain)
        assert np.abs(latents(parts, method=method) - plain).max() >= 1
        images = [
            editor(parts, method=one).edit(PICTURE, SOURCE, SOURCE, guidance=3.0, size=SIZE).image
            for one in (method, None)
        ]
        assert np.abs(np.asarray(images[0]).astype(int) - np.asarray(images[1])).max() <= 1

    return feature


def attention_maps(parts: Parts) -> None:
    """Of both directions, whatever is kept; averages of what is kept are what is kept of averages."""
    for direction in ("T2I", "I2T"):
        words, every = (("dog", "a photo"),), ("step", "block", "head")
        methods = [AttentionMaps(direction=direction, words=words, keep=keep) for keep in ((), every)]
        result = editor(parts, method=methods).edit(PICTURE, TARGET, SOURCE, size=SIZE, maps=False)
        mean, whole = (diagnostics["attention_maps"] for _, diagnostics in result.diagnostics)
        assert whole.shape == (1, 2, 3, len(editor(parts).backbone.sites), 4, 4, 6)
        assert torch.allclose(whole.mean(dim=(2, 3, 4)), mean, atol=1e-6)
        assert float(mean.min()) > 0 and float(mean.sum(dim=(-1, -2)).max()) < (1 if direction == "I2T" else 24)


def ranking_of_blocks(parts: Parts) -> None:
    """Every block once."""
    mask = np.zeros((32, 48))
    mask[:16, 10:30] = 1
    backbone = editor(parts).backbone
    scores = rank_blocks(Runs(backbone, steps=2, size=SIZE), [Masked(PICTURE, mask, SOURCE, "cat")])
    assert sorted(score.block for score in scores) == list(range(len(backbone.sites)))
    assert all(0 <= score.area_under_curve.value <= 1 for score in scores)


def analysis_of_heads(parts: Parts) -> None:
    """A profile is measured, saved, and routes an edit."""
    pairs = [Pair("animal", "a cat", "a dog", 1), Pair("colour", "a red cat", "the cat", 2)]
    analysis = analyse_heads(Runs(editor(parts).backbone, steps=2, size=SIZE), pairs)
    assert bool((analysis.profile.mean > 0).all())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "heads.json").write_text(json.dumps(analysis.profile.as_dict()))
        routed = latents(parts, method=ProfileRouting(profile=folder, semantic="animal", gamma=1.0))
    assert not np.array_equal(routed, latents(parts))


def acts_on_heads(method: Any) -> Callable[[Parts], None]:
    """Chosen heads are dropped or exchanged: the edit changes; without a head it does not."""

    def feature(parts: Parts) -> None:
        plain = latents(parts)
        assert not np.array_equal(latents(parts, method=method(heads=((0, 1), (1, 0), (1, 2)))), plain)
        assert np.array_equal(latents(parts, method=method()), plain)

    return feature


def blends(parts: Parts) -> None:
    """A white mask gives the plain edit, a black one the source's row, which is an edit with its own prompt.

    Within a level: with a mask the source's row stays in the batch, and kernels may round by the size of the batch.
    """
    white, black = NoMask(), ~NoMask()
    assert np.abs(latents(parts, method=LocalBlend(mask=white)) - latents(parts)).max() <= 1
    kept = latents(parts, method=LocalBlend(mask=black, blend=1.0))
    source = editor(parts).edit(PICTURE, SOURCE, SOURCE, size=SIZE)
    assert np.abs(kept - np.asarray(source.image)).max() <= 1


def blends_by_words(parts: Parts) -> None:
    """With injection, in either order: the same masks, each edit its own; of an instruction the words are named."""
    named = "a" if plain_inversion(parts).takes_references else ()
    methods = [Injection(), LocalBlend(mask=WordsMask(blocks=(0, 1), theta=0.95, target_words=named), blend=1.0)]
    results = [
        editor(parts, method=order).edit(PICTURE, [TARGET, "a red cat"], SOURCE, size=SIZE)
        for order in (methods, methods[::-1])
    ]
    masks = [result.recorded("masks") for result in results]
    assert torch.equal(*masks) and not torch.equal(masks[0][0], masks[0][1])
    assert bool(((masks[0] == 0) | (masks[0] == 1)).all()) and 0 < float(masks[0].mean()) < 1
    assert results[0].mask(1).size == PICTURE.size


def blends_by_differences(parts: Parts) -> None:
    """Another prompt differs in places; the source's own nowhere, and the edit is the picture as the autoencoder returns it."""
    held = RFInversion(steps=4, stop=1, hold_source=True)
    tool = editor(parts, held, LocalBlend(mask=AttentionMask(theta=0.95), blend=1.0))
    other, same = (tool.edit(PICTURE, prompt, SOURCE, size=SIZE) for prompt in (TARGET, SOURCE))
    (mask,) = other.recorded("masks")[0][-1:]
    assert bool(((mask == 0) | (mask == 1)).all()) and 0 < float(mask.mean()) < 0.5
    controlled = editor(parts, RFInversion(steps=4, stop=4, eta=1.0)).edit(PICTURE, TARGET, SOURCE, size=SIZE)
    picture = np.asarray(controlled.image).astype(float)
    assert np.abs(np.asarray(same.image) - picture).max() <= 1 < np.abs(np.asarray(other.image) - picture).max()


def kept_inversion(parts: Parts) -> None:
    tool = editor(parts)
    kept = tool.invert(PICTURE, SOURCE, size=SIZE)
    direct, shared = (
        tool.edit(PICTURE, TARGET, SOURCE, size=SIZE),
        tool.edit(PICTURE, TARGET, SOURCE, size=SIZE, start=kept),
    )
    assert np.array_equal(np.asarray(direct.image), np.asarray(shared.image))


def save(pipeline: Any, folder: Path) -> None:
    """Save a pipeline as its class does; a processor that was put together by hand cannot be saved."""
    if getattr(getattr(pipeline, "processor", None), "video_processor", pipeline) is None:
        raise IncompatibleError("not tried, since the small pipeline cannot be saved without torchvision.")
    pipeline.save_pretrained(folder)


def same_edit_from_its_record(parts: Parts) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save(parts[1], Path(folder) / "model")
        tool = of_kind(parts, None, HeadRouter(), model=str(Path(folder) / "model"))
        result = tool.edit(PICTURE, TARGET, SOURCE, seed=3, size=SIZE)
        result.save(Path(folder) / "out")
        again = replay(Path(folder) / "out" / "result.json", progress=False)
        assert np.array_equal(np.asarray(again.image), np.asarray(result.image))


def guidance_one_is_one_pass(parts: Parts) -> None:
    rows = {}
    for guidance in (1.0, 3.0):
        rows[guidance] = editor(parts).edit(PICTURE, TARGET, SOURCE, guidance=guidance, maps=False, size=SIZE).cost.rows
    two_passes = "negative-prompt" in editor(parts).backbone.provides
    assert rows[3.0] - rows[1.0] == (3 if two_passes else 0)


def negative_prompt(parts: Parts) -> None:
    """It changes the picture."""
    negative = latents(parts, guidance=3.0, negative_prompt="red dog")
    assert not np.array_equal(latents(parts, guidance=3.0), negative)


def any_size(parts: Parts) -> None:
    odd = PICTURE.resize((37, 61))
    result = editor(parts, method=HeadRouter()).edit(odd, TARGET, SOURCE, size=(32, 56))
    assert result.image.size == (37, 61)


def preset(parts: Parts) -> None:
    made = editor(parts, RFInversion(), HeadRouter()).edit(
        PICTURE, TARGET, SOURCE, preset="glasses", steps=4, size=SIZE
    )
    inversion = made.record.inversion.parameters
    assert (inversion["start"], inversion["stop"]) == (1, 4)


def preset_elsewhere(parts: Parts) -> None:
    editor(parts).edit(PICTURE, TARGET, preset="glasses")


def with_companion(prepare: Callable[[Any], Any]) -> Callable[[Parts], None]:
    """Something that people put on a model: with it, neutral steering is the plain edit and real steering acts."""

    def feature(parts: Parts) -> None:
        backbone, pipeline = parts
        with _chosen_kernels():
            prepared = prepare(pipeline) or pipeline
            steers(gamma=0.5, image_tokens="attention", rho=0.1, text_blocks="all")((backbone, prepared))

    return feature


@contextlib.contextmanager
def _chosen_kernels() -> Iterator[None]:
    """Choosing kernels for a model also chooses them for the process."""
    active = _AttentionBackendRegistry._active_backend
    try:
        yield
    finally:
        _AttentionBackendRegistry._active_backend = active


def lora(pipeline: Any) -> None:
    from peft import LoraConfig

    torch.manual_seed(0)
    adapter = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    pipeline.transformer.add_adapter(adapter)


def half_a_lora(pipeline: Any) -> None:
    lora(pipeline)
    pipeline.transformer.set_adapters(["default"], [0.5])


def block_lists(transformer: Any) -> list[Any]:
    """The lists of blocks in which text and image attend to each other."""
    names = ("transformer_blocks", "single_transformer_blocks", "layers")
    return [getattr(transformer, name) for name in names if hasattr(transformer, name)]


def eight_bits(pipeline: Any) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    for blocks in block_lists(pipeline.transformer):
        quantize_(blocks, Int8WeightOnlyConfig())


def fused(pipeline: Any) -> None:
    if not hasattr(pipeline.transformer, "fuse_qkv_projections"):
        raise IncompatibleError("diffusers has no fused projections for this model.")
    pipeline.transformer.fuse_qkv_projections()


def other_kernels(pipeline: Any) -> None:
    pipeline.transformer.set_attention_backend("_native_math")


def checkpointing(pipeline: Any) -> None:
    pipeline.transformer.enable_gradient_checkpointing()


def offloaded(pipeline: Any) -> None:
    device = pipeline.device
    pipeline.to("cpu").enable_model_cpu_offload(device=device)


def offloaded_by_group(pipeline: Any) -> None:
    device = pipeline.device
    pipeline.to("cpu").enable_group_offload(device, offload_type="leaf_level")


def layerwise(pipeline: Any) -> None:
    pipeline.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)


def compiled(parts: Parts) -> None:
    """One block of each kind, since compiling takes long, and one step of generation: a listener that changes nothing
    changes no bit, and steering is what it is without compilation, to one level of 256."""
    _backbone, pipeline = parts
    tool = editor(parts, plain_inversion(parts, steps=1))
    strong = HeadRouter(gamma=0.0, image_tokens="off", rho=0.5, text_blocks="all")

    def picture(method: Methods) -> np.ndarray[Any, Any]:
        made = tool.generate([SOURCE, TARGET], method=method, guidance=1.0, size=SIZE)
        return np.asarray(made[1]).astype(np.float64)

    uncompiled = picture(strong)
    torch._dynamo.reset()
    for blocks in block_lists(pipeline.transformer):
        for block in blocks[:1]:
            block.compile(backend="eager", fullgraph=True)
    plain = picture(None)
    assert np.array_equal(picture("maps"), plain)
    assert np.abs(uncompiled - plain).max() >= 1, "steering must change the picture"
    assert np.abs(picture(strong) - uncompiled).max() <= 1


def compiled_whole(pipeline: Any) -> None:
    pipeline.transformer.compile(backend="eager")


def parallel(pipeline: Any) -> None:
    pipeline.transformer._parallel_config = object()


def cached(kind: str, **values: Any) -> Callable[[Any], None]:
    """A cache by diffusers' own function, which works for models that have no ``enable_cache``, too."""
    name, configuration = {
        "first block": ("apply_first_block_cache", "FirstBlockCacheConfig"),
        "TaylorSeer": ("apply_taylorseer_cache", "TaylorSeerCacheConfig"),
        "MagCache": ("apply_mag_cache", "MagCacheConfig"),
        "FasterCache": ("apply_faster_cache", "FasterCacheConfig"),
        "broadcast": ("apply_pyramid_attention_broadcast", "PyramidAttentionBroadcastConfig"),
        "SeaCache": ("apply_sea_cache", "SeaCacheConfig"),
        "skip": ("apply_layer_skip", "LayerSkipConfig"),
    }[kind]

    def prepare(pipeline: Any) -> None:
        transformer = pipeline.transformer
        if kind == "skip" and not hasattr(transformer, values["fqn"]):
            values["fqn"] = "layers"
        try:
            getattr(hooks, name)(transformer, getattr(hooks, configuration)(**values))
        except ValueError as error:
            raise IncompatibleError("diffusers does not know the blocks of this model.") from error
        if not any(hasattr(module, "_diffusers_hook") for module in transformer.modules()):
            raise IncompatibleError("diffusers finds nothing to cache in this model.")

    return prepare


def offload(kind: str) -> Callable[[Parts], None]:
    def feature(parts: Parts) -> None:
        backbone, pipeline = parts
        with tempfile.TemporaryDirectory() as folder:
            save(pipeline, Path(folder))
            Editor(backbone, model=folder, offload=kind, progress=False)

    return feature


FEATURES: dict[str, Callable[[Parts], None]] = {
    "generation equals the stock pipeline": equals_the_stock_pipeline,
    "several prompts from one seed": generates,
    "`euler`": edits_by(Euler(steps=3)),
    "`euler`, fixed point": edits_by(Euler(steps=3, fixed_point=2)),
    "`rf`": edits_by(RFInversion(steps=4)),
    "`rf-sde`": edits_by(RFInversionSDE(steps=4)),
    "`rf-solver`": edits_by(RFSolver(steps=3)),
    "`fireflow`": edits_by(FireFlow(steps=3)),
    "`directedit`": edits_by(DirectEdit(steps=3)),
    "`flowedit`": edits_by(FlowEdit(steps=4, plain_steps=1)),
    "`sdedit`": edits_by(SDEdit(steps=4)),
    "`instruct`": edits_by(Instruct(steps=3)),
    "`rf` at η = 1 returns the picture": full_control,
    "velocity operators": changes_velocities,
    "head routing": steers(gamma=1.0),
    "head routing, anchored": steers(gamma=1.0, form="anchored"),
    "head routing, image tokens compared": steers(gamma=1.0, compare="image"),
    "head routing, where changed words reach": steers(gamma=1.0, where="words"),
    "head routing of the difference, image tokens": steers(gamma=1.0, amplify="difference", where="image"),
    "image tokens, share": steers(image_tokens="attention", token_form="share", nu=3.0),
    "image tokens, centred": steers(image_tokens="attention", token_form="centred", nu=8.0),
    "image tokens, literal": steers(image_tokens="attention", token_form="literal", nu=40.0),
    "image tokens, changed words' keys": steers(image_tokens="attention", keys="changed", nu=3.0),
    "image tokens, all text keys": steers(image_tokens="attention", keys="all", nu=3.0),
    "image tokens, on features": steers(image_tokens="features", token_form="centred", nu=3.0),
    "text tokens, dual blocks": steers(rho=0.5),
    "text tokens, all blocks": steers(rho=0.5, text_blocks="all"),
    "text tokens, both rows": steers(rho=0.5, text_rows="both"),
    "word maps": word_maps,
    "injection, image queries and keys": injects("qiki"),
    "injection, image keys and values": injects("kivi"),
    "injection, regions of attention": injects("T2I", "I2I"),
    "local blending, your mask": blends,
    "local blending by words, with injection": blends_by_words,
    "local blending by differences, source held": blends_by_differences,
    "maps by block, step and head, both directions": attention_maps,
    "ranking of blocks": ranking_of_blocks,
    "analysis of heads, profile routing": analysis_of_heads,
    "head dropout": acts_on_heads(HeadDropout),
    "head swap": acts_on_heads(HeadSwap),
    "several edits, together or in groups": several_edits,
    "kept inversions": kept_inversion,
    "the same edit from its record": same_edit_from_its_record,
    "guidance 1 without an unconditional branch": guidance_one_is_one_pass,
    "negative prompt": negative_prompt,
    "any size and aspect": any_size,
    "presets on `rf`": preset,
    "presets of `rf` on `euler`": preset_elsewhere,
    "LoRA": with_companion(lora),
    "LoRA at half weight": with_companion(half_a_lora),
    "8-bit weights (torchao)": with_companion(eight_bits),
    "fused projections": with_companion(fused),
    "other attention kernels": with_companion(other_kernels),
    "gradient checkpointing": with_companion(checkpointing),
    "layerwise casting (float8)": with_companion(layerwise),
    "`enable_model_cpu_offload`": with_companion(offloaded),
    "`enable_group_offload`": with_companion(offloaded_by_group),
    "torch.compile of each block": compiled,
    "torch.compile of the whole model": with_companion(compiled_whole),
    "FirstBlockCache": with_companion(cached("first block", threshold=0.1)),
    "TaylorSeer": with_companion(cached("TaylorSeer")),
    "MagCache": with_companion(cached("MagCache", num_inference_steps=4, mag_ratios=torch.ones(4))),
    "FasterCache": with_companion(
        cached(
            "FasterCache",
            spatial_attention_block_skip_range=2,
            attention_weight_callback=lambda _: 0.5,
            tensor_format="BCHW",
            current_timestep_callback=lambda: 0,
        )
    ),
    "PyramidAttentionBroadcast": with_companion(
        cached("broadcast", spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500)
    ),
    "SeaCache": with_companion(cached("SeaCache")),
    "skipped layers": with_companion(cached("skip", indices=[0], fqn="transformer_blocks")),
    "parallel over devices": with_companion(parallel),
    "`offload=model` without accelerator": offload("model"),
    "`offload=group` without accelerator": offload("group"),
}
