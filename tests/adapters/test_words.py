"""Positions of words follow what a pipeline's tokenizers really read: scripts, trained tokens of several vectors, marks."""

import contextlib
import unicodedata

import pytest
import torch
from headrouter_diffusers.pipeline.prompts import readings
from headrouter_diffusers.testing import tiny_flux, tiny_sd3
from headrouter_flux.parameters import FluxParameters
from headrouter_sd3.parameters import SD3Parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrouter.errors import InvalidInputError, PromptWarning

from .conftest import build

TEXTS = [
    "a cat-like dog's 3.14 photo, don’t!",
    "cafe\u0301 and CAFÉ",
    "一只红色的猫在草地上",
    "赤い猫とカタカナ",
    "แมวสีแดงนั่งบนหญ้า",
    "빨간 고양이",
    "लाल बिल्ली",
    "חתול אדום, قطة حمراء",
    "🐱→🐶 👩\u200d👩\u200d👧 ❤️ 🇫🇷",
    "red猫cat ｃａｔ ﬁne ½",
    "zero\u200bwidth co\u00adop\u3000wide",
    r"a [red] [cat] \[dog\]",
]
unknown_words_are_fine = pytest.mark.filterwarnings("ignore::headrouter.errors.PromptWarning")


@pytest.fixture(scope="module")
def models():
    return {
        "flux": FluxParameters().load("tiny", tiny_flux(t5_length=200)),
        "sd3": SD3Parameters().load("tiny", tiny_sd3(t5_length=200)),
    }


@unknown_words_are_fine
@pytest.mark.parametrize("kind", ["flux", "sd3"])
@pytest.mark.parametrize("text", TEXTS)
def test_each_word_has_tokens_in_every_tokenizer(models, kind, text):
    [prompt] = models[kind].encode_prompts([text])
    assert_covered(prompt)


@unknown_words_are_fine
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("a dogé\u0301猫แมว한ि👩\u200d🐶\ufe0f[]\\.-'’1½ⅣßİﬁקA"), max_size=16))
def test_tokens_stand_for_characters_of_the_users_text(models, text):
    [prompt] = models["sd3"].encode_prompts([text])
    assert_covered(prompt)


def assert_covered(prompt):
    """Tokens are pieces of the text; those of a word cover it, but for what a tokenizer composes or drops."""
    names = {token.tokenizer for token in prompt.tokens}
    for token in prompt.tokens:
        piece = prompt.text[token.start : token.stop]
        assert piece and piece == piece.strip()
    for word in prompt.words:
        places = prompt.find(word)
        for name in names:
            own = [token for token in prompt.tokens if token.tokenizer == name and token.position in places]
            covered = {place for token in own for place in range(token.start, token.stop)}
            start = next(
                place for place in range(len(prompt.text)) if prompt.text.startswith(word, place) and place in covered
            )
            for place in range(start, start + len(word)):
                assert place in covered or unicodedata.category(prompt.text[place])[0] in "MC", (name, word)


def test_decomposed_and_composed_text_has_the_same_positions_in_clip():
    model = build("sd3-without-t5")
    composed, decomposed = model.encode_prompts(["a café red", "a cafe\u0301 red"])
    assert composed.find("café") == decomposed.find("café") == composed.find("cafe\u0301")
    assert composed.find("red") == decomposed.find("red")
    assert decomposed.new_positions(composed) == ()


@unknown_words_are_fine
def test_another_emoji_is_another_word_at_its_positions():
    model = build("sd3-without-t5")
    cat, dog = model.encode_prompts(["a 🐱 on grass", "a 🐶 on grass"])
    assert dog.new_positions(cat) == dog.find("🐶") == (2, 3, 4, 5)


def trained(pipeline, number, words):
    """Train tokens of several vectors, as textual inversion leaves them behind, for one of the tokenizers."""
    tokenizer = getattr(pipeline, f"tokenizer{number}")
    tokenizer.add_tokens(
        [name for word, vectors in words.items() for name in [word, *(f"{word}_{n}" for n in range(1, vectors))]]
    )
    getattr(pipeline, f"text_encoder{number}").resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return pipeline


@contextlib.contextmanager
def read(pipeline):
    """Token ids that each text encoder is given."""
    seen, hooks = {}, []
    for name, model in pipeline.components.items():
        if name.startswith("text_encoder") and model is not None:

            def see(module, args, kwargs, name=name):
                seen[name] = (args[0] if args else kwargs["input_ids"])[0].tolist()

            hooks.append(model.register_forward_pre_hook(see, with_kwargs=True))
    yield seen
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("text", ["a <toy> cat", "<toy>, a <toy> red <box> cat", "a [<toy>] cat"])
def test_words_after_a_trained_token_are_where_the_pipeline_puts_them(text):
    pipeline = trained(tiny_flux(), "_2", {"<toy>": 3, "<box>": 1})
    with read(pipeline) as seen:
        [prompt] = FluxParameters().load("tiny", pipeline).encode_prompts([text])
    tokenizer, ids = pipeline.tokenizer_2, seen["text_encoder_2"]
    for word in ("cat", "a"):
        (*_, place) = prompt.find(word)
        assert tokenizer.convert_ids_to_tokens(ids[place]) == f"▁{word}"
    toys = [place for place, number in enumerate(ids) if tokenizer.convert_ids_to_tokens(number).startswith("<toy>")]
    assert set(toys) <= set(prompt.find("<toy>")) and len(toys) == 3 * text.count("<toy>")
    for token in prompt.tokens:
        if token.position in toys:
            assert text[token.start : token.stop] == "<toy>"


def test_a_trained_token_is_counted_as_its_vectors():
    pipeline = trained(tiny_flux(), "_2", {"<toy>": 4})
    model = FluxParameters().load("tiny", pipeline)
    model.encode_prompts(["the " * 19 + "<toy>"])
    with pytest.raises(InvalidInputError, match=r"t5 takes 24 tokens and this text has 25"):
        model.encode_prompts(["the " * 20 + "<toy>"])


def test_a_prompt_that_is_read_in_another_way_is_refused(monkeypatch):
    pipeline = trained(tiny_flux(), "_2", {"<toy>": 2})
    monkeypatch.setattr(pipeline, "maybe_convert_prompt", lambda text, tokenizer: f"{text} cat")
    with pytest.raises(InvalidInputError, match=r"`prompt` 'a <toy>' is read as 'a <toy> cat'"):
        FluxParameters().load("tiny", pipeline).encode_prompts(["a <toy>"])


@unknown_words_are_fine
@pytest.mark.parametrize("kind", ["flux", "sd3", "sd3-without-t5"])
@pytest.mark.parametrize("text", ["a [red] cat", r"\[a\] cat", "cafe\u0301 🐱", "  a\tcat "])
def test_the_text_encoders_are_given_the_tokens_that_were_counted(kind, text):
    model = build(kind)
    with read(model.pipeline) as seen:
        model.encode_prompts([text])
    for reading in readings(model.pipeline, model.parts, text):
        tokenizer = reading.part.tokenizer
        name = next(name for name, part in model.pipeline.components.items() if part is tokenizer)
        ids = tokenizer(reading.spelling.text)["input_ids"]
        assert seen[name.replace("tokenizer", "text_encoder")][: len(ids)] == ids


def test_the_model_reads_a_marked_prompt_without_its_brackets(backbone):
    plain, marked = backbone.encode_prompts(["a red cat", "a [red] cat"])
    for name, tensor in plain.tensors.items():
        assert torch.equal(tensor, marked.tensors[name])
    assert marked.positions == plain.positions
    assert marked.new_positions(plain) == marked.find("red") == plain.find("red")


def test_words_that_t5_does_not_know_are_told():
    model = build("flux")
    with pytest.warns(PromptWarning, match=r"has what t5 does not know: '猫', '🐶'\. Each is the same unknown token"):
        model.encode_prompts(["a 猫 and 🐶"])
    model = build("sd3-without-t5")
    model.encode_prompts(["a 猫 and 🐶"])
