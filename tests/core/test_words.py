"""Words of prompts in many scripts: where they are, how they are compared, which are new, which are marked."""

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrouter.errors import InvalidInputError
from headrouter.prompts.marks import marks, without_marks
from headrouter.prompts.prompt import Prompt, Token
from headrouter.prompts.words import fold, word_spans
from headrouter.testing.toy import ToyMMDiT

SCRIPTS = (
    "aZé\u0301ßİǅ1٣½ \t\u3000.,:;!?'’-_→#$“”()[]\\\"{}"
    "猫赤いカタ한국แมวีคำहिन्दीקטןقطةру🐶🐱👩\u200d\ufe0f🏽🇫🇷\u200b\u00ad\u2060"
)
texts = st.text(st.sampled_from(SCRIPTS), max_size=24) | st.text(max_size=24)


def words(text: str) -> list[str]:
    return [text[start:stop] for start, stop in word_spans(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A dog, the dog's cat-like dog.", ["A", "dog", "the", "dog's", "cat-like", "dog"]),
        ("café cafe\u0301 cafe\u0301-like", ["café", "cafe\u0301", "cafe\u0301-like"]),
        ("一只红色的猫在草地上", ["一只", "红色", "的", "猫", "在", "草地", "上"]),
        ("赤い猫が草の上に", ["赤い", "猫", "が", "草", "の", "上", "に"]),
        ("カタカナの猫", ["カタカナ", "の", "猫"]),
        ("แมวสีแดงนั่งบนหญ้า", ["แมว", "สี", "แดง", "นั่ง", "บน", "หญ้า"]),
        ("빨간 고양이", ["빨간", "고양이"]),
        ("लाल बिल्ली", ["लाल", "बिल्ली"]),
        ("קטה אדומה ג'ירפה", ["קטה", "אדומה", "ג'ירפה"]),
        ("قطة حمراء، عشب", ["قطة", "حمراء", "عشب"]),
        ("🐱→🐶 👩\u200d👩\u200d👧 🇫🇷🇩🇪 👍🏽 ❤️ #️⃣", ["🐱", "🐶", "👩\u200d👩\u200d👧", "🇫🇷", "🇩🇪", "👍🏽", "❤️", "#️⃣"]),
        ("a🐱b", ["a", "🐱", "b"]),
        ("3.14 1,000 10:30 2x4 90's 50% sd3.5", ["3.14", "1,000", "10", "30", "2x4", "90's", "50", "sd3.5"]),
        ("style:cat.A don’t -x- a--b x_y", ["style", "cat", "A", "don’t", "x", "a", "b", "x_y"]),
        ("猫cat猫 ｃａｔ", ["猫", "cat", "猫", "ｃａｔ"]),
        ("zero\u200bwidth co\u00adop", ["zero", "width", "co\u00adop"]),
        ("... -- → $ \u0301", []),
        ("", []),
    ],
)
def test_words_of_many_scripts(text: str, wanted: list[str]) -> None:
    assert words(text) == wanted
    assert Prompt(text, {}).words == tuple(wanted)


@settings(max_examples=60)
@given(texts)
def test_words_are_apart_in_order_and_leave_out_no_letter(text: str) -> None:
    spans = word_spans(text)
    assert all(start < stop for start, stop in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    inside = {place for start, stop in spans for place in range(start, stop)}
    for place, character in enumerate(text):
        assert place in inside or unicodedata.category(character)[0] not in "LN"
    for start, stop in spans:
        assert not any(character.isspace() for character in text[start:stop].strip("\ufe0f\u0301"))


@settings(max_examples=60)
@given(texts)
def test_normal_forms_have_the_same_words(text: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert [*map(fold, words(composed))] == [*map(fold, words(decomposed))]
    if not marks(text):
        assert Prompt(composed, {}).new_words(Prompt(decomposed, {})) == ()


@settings(max_examples=60)
@given(texts)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text) == fold(unicodedata.normalize("NFD", text))


@settings(max_examples=60)
@given(texts)
def test_every_word_is_found_at_all_its_places(text: str) -> None:
    spans = word_spans(text)
    prompt = Prompt(text, {}, tuple(Token("t", place, *span) for place, span in enumerate(spans)))
    for word in prompt.words:
        same = tuple(place for place, other in enumerate(prompt.words) if fold(other) == fold(word))
        assert set(same) <= set(prompt.find(word))
    if spans:
        assert 0 in prompt.find(text), "the whole text is a phrase of itself"


@settings(max_examples=60)
@given(texts, texts)
def test_new_words_are_words_and_a_prompt_has_none_of_its_own(first: str, second: str) -> None:
    before, after = Prompt(first, {}), Prompt(without_marks(second).text, {})
    if not marks(after.text):
        assert set(after.new_words(before)) <= set(after.words)
        assert after.new_words(after) == ()
        if [*map(fold, before.words)] != [*map(fold, after.words)]:
            assert after.new_words(before) or before.new_words(after) or marks(first)


@pytest.mark.parametrize(
    ("source", "target", "new"),
    [
        ("a 🐱", "a 🐶", ("🐶",)),
        ("a photo of a Café", "a photo of a cafe\u0301", ()),
        ("赤い猫が草の上に", "赤い犬が草の上に", ("犬",)),
        ("แมวสีแดง", "หมาสีแดง", ("หมา",)),
        ("红色的猫", "蓝色的猫", ("蓝色",)),
        ("חתול אדום", "כלב אדום", ("כלב",)),
        ("the cat and the cat", "the cat and the dog and the cat", ("dog", "and", "the")),
        ("❤ on a hill", "❤️ on a hill", ()),
    ],
)
def test_new_words(source: str, target: str, new: tuple[str, ...]) -> None:
    found = Prompt(target, {}).new_words(Prompt(source, {}))
    assert sorted(found) == sorted(new)


@pytest.mark.parametrize("phrase", ["红色的猫", "红色 的", "的", "猫"])
def test_a_phrase_is_found_however_it_is_divided(phrase: str) -> None:
    [toy] = ToyMMDiT().encode_prompts(["红色的猫"])
    assert toy.find(phrase) == (0,)


@pytest.mark.parametrize("phrase", ["ca", "", " ", "...", "cat the", "色", "thecat", None, 3, ["cat"], b"cat"])
def test_what_is_no_word_of_the_prompt_is_refused_by_name(phrase: object) -> None:
    [prompt] = ToyMMDiT().encode_prompts(["the cat 红色"])
    with pytest.raises(InvalidInputError, match=r"^`word` "):
        prompt.find(phrase)  # type: ignore[arg-type]


def test_a_word_without_a_token_is_refused() -> None:
    prompt = Prompt("a cat", {}, (Token("t", 0, 0, 1),))
    with pytest.raises(InvalidInputError, match="`word` 'cat' has no token"):
        prompt.find("cat")


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="half of a surrogate pair at place 1"):
        word_spans("a\ud800")


@pytest.mark.parametrize(
    ("text", "read", "marked"),
    [
        ("a [red] cat", "a red cat", ["red"]),
        ("[a watercolor of] a [🐱]", "a watercolor of a 🐱", ["a", "watercolor", "of", "🐱"]),
        ("一只[红色]的猫", "一只红色的猫", ["红色"]),
        (r"a sign: \[exit\]", "a sign: [exit]", []),
        ('{"objects": ["cat"], "size": [512, 3.5]}', '{"objects": ["cat"], "size": [512, 3.5]}', []),
        ("['cat'] [] [ ] a [b", "['cat'] [] [ ] a [b", []),
    ],
)
def test_brackets_mark_words(text: str, read: str, marked: list[str]) -> None:
    assert without_marks(text).text == read
    assert list(Prompt(text, {}).new_words(Prompt(text, {}))) == marked


@settings(max_examples=60)
@given(texts)
def test_what_is_read_stands_where_it_says(text: str) -> None:
    spelling = without_marks(text)
    assert all(
        text[start:stop] == letter for letter, (start, stop) in zip(spelling.text, spelling.origins, strict=True)
    )
    assert len(spelling.text) == len(text) - 2 * len(marks(text)) - sum(
        text[place] == "\\" and place not in {start for start, _ in spelling.origins} for place in range(len(text))
    )


@pytest.mark.parametrize("where", ["source", "target"])
def test_the_toy_reads_a_marked_prompt_without_its_brackets(where: str) -> None:
    plain, marked = ToyMMDiT().encode_prompts(["a red cat", "a [red] cat"])
    assert plain.tensors["embedding"].equal(marked.tensors["embedding"])
    assert marked.find("red") == plain.find("red") == marked.new_positions(plain) == (1,)
    assert marked.text[slice(*[(t.start, t.stop) for t in marked.tokens][1])] == "red"
