"""Methods on reference pictures: against explicit softmaxes, neutral settings to the bit, and what is refused."""

import numpy as np
import pytest
import torch
from headrouter_flux_kontext.parameters import KontextParameters
from headrouter_flux_kontext.testing import tiny_kontext
from headrouter_inversions.instruct import Instruct
from headrouter_references.grag import GroupGuidance
from headrouter_references.groups import GROUPS, attended, attended_reference, shares, shares_reference
from headrouter_references.injection import ReferenceInjection
from headrouter_references.routing import GroupRouting, GroupShares
from PIL import Image

from headrouter import Editor
from headrouter.attention import kernels
from headrouter.attention.joint_attention import JointAttention, ReferenceTokens, Site, TokenLayout
from headrouter.attention.rows import Row, batch_rows
from headrouter.attention.step_info import StepInfo
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.method import HeadRouter
from headrouter.methods.method import Needs, RunContext
from headrouter.prompts.prompt import Prompt
from headrouter.testing import MethodConformance, MethodSubject
from headrouter.testing.toy import ToyMMDiT

HEADS, CHANNELS, TEXT, GRID, OTHER = 3, 5, 4, (2, 3), (3, 2)
NOTHING = Prompt("", {})
ROWS = {edit: Row(NOTHING, NOTHING, 3.0, edit, references=(torch.zeros(1, 1, 2, 2),)) for edit in (None, 0)}
SUBJECTS = [
    MethodSubject("grag", GroupGuidance(), GroupGuidance(spread=1)),
    MethodSubject("grag-conditional", GroupGuidance(spread=0.8, mean=1.1, branches="conditional")),
    MethodSubject("reference-injection", ReferenceInjection(), ReferenceInjection(alpha=0)),
    MethodSubject("reference-injection-share", ReferenceInjection(gains="share", what="values")),
    MethodSubject("group-routing", GroupRouting(), GroupRouting(reference=0)),
    MethodSubject(
        "group-routing-dissimilarity",
        GroupRouting(text=0.5, reference=-0.5, score="dissimilarity"),
        GroupRouting(reference=0, score="dissimilarity"),
    ),
    MethodSubject("group-shares", GroupShares(), GroupShares(), acts=False),
]


class TestReferenceMethods(MethodConformance):
    """One that acts before attention and one that acts after it; the kit's search for events that are kept takes seconds."""

    @pytest.fixture(params=[SUBJECTS[place] for place in (3, 5)], ids=lambda subject: subject.name)
    def method(self, request):
        return request.param


def event(*, text_first=True, bias=None, references=2, step=0) -> JointAttention:
    """A random event of a source and an edit of one picture, guided: four rows."""
    grids, place, pictures = (GRID, GRID, OTHER)[: references + 1], TEXT if text_first else 0, []
    for rows, columns in grids:
        pictures.append(slice(place, place + rows * columns))
        place = pictures[-1].stop
    text = slice(0, TEXT) if text_first else slice(place, place + TEXT)
    others = tuple(map(ReferenceTokens, pictures[1:], grids[1:]))
    layout = TokenLayout(text, pictures[0], GRID, (("words", TEXT),), references=others)
    generator, rows = torch.Generator().manual_seed(0), batch_rows(list(ROWS.values()))
    drawn = [torch.randn(4, HEADS, layout.length, CHANNELS, generator=generator) for _ in range(3)]
    attend = torch.nn.functional.scaled_dot_product_attention
    mask = None if bias is None else bias(layout.length)
    site, info = Site(0, "block", "dual", HEADS), StepInfo("sample", step, 4, 0, 0.5, 0)
    return JointAttention(
        site, layout, rows, info, *drawn, lambda *three: attend(*three, attn_mask=mask, scale=0.7), scale=0.7, bias=mask
    )


def padded(length):
    return (torch.arange(length) != 1).expand(4, 1, 1, length)


def leaning(length):
    return torch.randn(1, HEADS, length, length, generator=torch.Generator().manual_seed(1))


def run(method, references=True):
    """The method's run of four steps over a source and an edit, with reference pictures or without."""
    rows = tuple(row if references else Row(NOTHING, NOTHING, 3.0, edit) for edit, row in ROWS.items())
    sites = (Site(0, "block", "dual", HEADS),)
    return method.begin(RunContext("sample", 4, sites, rows, (1.0, 0.7, 0.5, 0.2, 0.0), range(4)))


@pytest.mark.parametrize("chunk", [None, 7])
@pytest.mark.parametrize("bias", [None, padded, leaning])
@pytest.mark.parametrize("text_first", [True, False])
def test_shares_and_weighted_attention_are_those_of_the_explicit_softmax(text_first, bias, chunk, monkeypatch):
    if chunk:
        monkeypatch.setattr(kernels, "CHUNK_ELEMENTS", chunk)
    given = event(text_first=text_first, bias=bias)
    found = shares(given, 3)
    torch.testing.assert_close(found.double(), shares_reference(given, 3), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.sum(0), torch.ones(HEADS), atol=1e-5, rtol=1e-5)
    weights = torch.rand(3, HEADS, generator=torch.Generator().manual_seed(2)) * 2
    for own in (weights, torch.ones_like(weights), weights * torch.tensor([1.0, 1.0, 0.0])[:, None]):
        torch.testing.assert_close(
            attended(given, 3, own).double(), attended_reference(given, 3, own), atol=1e-5, rtol=1e-5
        )
    plain = given.attend()[3, :, given.layout.image]
    torch.testing.assert_close(attended(given, 3, torch.ones(3, HEADS)), plain, atol=1e-5, rtol=1e-5)


def test_routing_multiplies_the_shares_of_the_edit_by_its_weights():
    """What a group then has of a head's attention is w·s / Σ w·s, token by token; other rows and tokens stay."""
    given, method = event(references=1), GroupRouting(text=-1, reference=2, score="uniform", k=0)
    output = given.attend()
    routed = run(method).after(given, output)
    image = given.layout.image
    for place in range(3):
        assert torch.equal(routed[place], output[place])
    kept = torch.ones(given.layout.length, dtype=torch.bool)
    kept[image] = False
    assert torch.equal(routed[3][:, kept], output[3][:, kept])
    logits = given.query[3].double() @ given.key[3].double().mT * given.scale
    weight = torch.ones(given.layout.length, dtype=torch.float64)
    weight[given.layout.text], weight[given.layout.references[0].tokens] = 0.5, 2.0  # 1 + γ·sigmoid(0)
    attention = logits.exp() * weight
    wanted = (attention / attention.sum(-1, keepdim=True) @ given.value[3].double())[:, image]
    torch.testing.assert_close(routed[3][:, image].double(), wanted, atol=1e-5, rtol=1e-5)


def test_a_head_that_attends_most_to_the_reference_is_routed_most():
    given = event(references=1)
    routing = run(GroupRouting())
    routing.after(given, given.attend())
    found = routing.diagnostics()
    shared, weights = found["reference_shares"][0, 0, 0], found["reference_weights"][0, 0, 0]
    assert int(shared.argmax()) == int(weights.argmax()) and float(weights.max()) == pytest.approx(
        1 + 0.5 * 0.9933, 1e-4
    )
    assert float(weights.min()) == pytest.approx(1 + 0.5 * 0.0067, abs=1e-4)
    assert float(found["text_weights"].nan_to_num(1).sub(1).abs().max()) == 0
    measured = run(GroupShares())
    measured.after(given, given.attend())
    for group in GROUPS:
        assert torch.equal(measured.diagnostics()[f"{group}_shares"][0, 0], found[f"{group}_shares"][0, 0])


def test_dissimilarity_sends_the_text_to_heads_that_depart_and_the_reference_to_the_others():
    given = event(references=1)
    given.query[3, 0] = given.query[2, 0]  # in head 0 the edit does what its source does
    given.key[3, 0], given.value[3, 0] = given.key[2, 0], given.value[2, 0]
    routing = run(GroupRouting(text=1, reference=1, score="dissimilarity"))
    assert routing.needs(0).pair == "conditional"
    routing.after(given, given.attend())
    found = routing.diagnostics()
    assert float(found["text_weights"][0, 0, 0, 0]) == pytest.approx(1.0067, abs=1e-3)
    assert float(found["reference_weights"][0, 0, 0, 0]) == pytest.approx(1.9933, abs=1e-3)


def test_grag_is_its_formula():
    given = event()
    key = given.key.clone()
    run(GroupGuidance(spread=1.3, mean=0.9)).before(given)
    for place, item in enumerate(given.rows):
        for group in given.layout.references:
            own = key[place, :, group.tokens]
            mean = own.mean(1, keepdim=True)
            wanted = own if item.row.is_source else 0.9 * mean + 1.3 * (own - mean)
            torch.testing.assert_close(given.key[place, :, group.tokens], wanted)
        rest = slice(0, given.layout.image.stop)
        assert torch.equal(given.key[place, :, rest], key[place, :, rest])
    flat = event()
    run(GroupGuidance(spread=0)).before(flat)
    own = flat.key[3, :, flat.layout.references[0].tokens]
    torch.testing.assert_close(own, own.mean(1, keepdim=True).expand_as(own))


def test_injection_takes_the_token_of_the_same_place_by_head():
    given = event(references=1)
    image, reference = given.layout.image, given.layout.references[0].tokens
    before = {"key": given.key.clone(), "value": given.value.clone()}
    run(ReferenceInjection(alpha=0.5, gains=(0.0, 0.5, 1.0), branches="conditional")).before(given)
    for name, old in before.items():
        new = getattr(given, name)
        assert torch.equal(new[:3], old[:3]) and torch.equal(new[3, 0], old[3, 0])
        for head, share in ((1, 0.25), (2, 0.5)):
            wanted = (1 - share) * old[3, head, image] + share * old[3, head, reference]
            torch.testing.assert_close(new[3, head, image], wanted)
        assert torch.equal(new[3][:, reference], old[3][:, reference])
    whole = event(references=1)
    run(ReferenceInjection(alpha=1)).before(whole)
    assert torch.equal(whole.key[3][:, image], whole.key[3][:, reference])
    turned = event(references=1)
    layout = turned.layout
    turned.layout = TokenLayout(
        layout.text,
        layout.image,
        layout.grid,
        layout.segments,
        references=(ReferenceTokens(layout.references[0].tokens, (3, 2)),),
    )
    with pytest.raises(
        IncompatibleError, match=r"blends token by token, .* \(3, 2\) of them where the new one has \(2, 3\)"
    ):
        run(ReferenceInjection()).before(turned)


@pytest.fixture(scope="module")
def kontext():
    return KontextParameters(max_sequence_length=24).load("tiny", tiny_kontext())


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_on_a_pipeline_each_acts_and_its_neutral_setting_is_none_to_the_bit(subject, kontext):
    drawn = (np.random.default_rng(0).random((32, 48, 3)) * 255).astype(np.uint8)

    def edit(*methods):
        asked = {"prompt": "make the cat red", "steps": 2, "size": (48, 32)}
        return Editor(kontext, method=methods, progress=False).edit(Image.fromarray(drawn), **asked)

    plain, steered = edit(), edit(subject.method)
    assert np.array_equal(plain.image, steered.image) != subject.acts
    if subject.neutral is not None:
        assert np.array_equal(edit(subject.neutral).image, plain.image)
    if subject.name == "group-routing":
        assert not np.array_equal(edit(subject.method, HeadRouter()).image, steered.image), "they compose"


def test_what_cannot_work_is_refused_by_name(kontext):
    with pytest.raises(
        IncompatibleError, match="`method` 'grag' acts on reference pictures, and `inversion` 'rf' gives"
    ):
        Editor("flux2", "rf", "grag", model="nowhere/at-all")
    with pytest.raises(
        IncompatibleError, match=r"`method` 'group-routing' .* needs reference-pictures, which `backbone` 'sd3"
    ):
        Editor("sd3", None, "group-routing", model="nowhere/at-all")
    for method in (GroupGuidance(), ReferenceInjection(), GroupRouting(), GroupShares()):
        with pytest.raises(IncompatibleError, match=r"this run has none\. Edit with `inversion='instruct'`"):
            run(method, references=False)
    with pytest.raises(InvalidInputError, match=r"`method.gains` must be a number in .* for each of 3 heads"):
        run(ReferenceInjection(gains=(0.5, 0.5)))
    picture = Image.new("RGB", (48, 32))
    unpaired = Editor(kontext, Instruct(null_instruction=None), GroupRouting(score="dissimilarity"), progress=False)
    with pytest.raises(
        IncompatibleError, match="'dissimilarity' compares an edit with its source, and this run has no"
    ):
        unpaired.edit(picture, "a cat", steps=1, size=(48, 32))
    assert run(GroupRouting(reference=0)).needs(0) == Needs()
    assert "reference-pictures" in ToyMMDiT().provides
