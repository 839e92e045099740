"""Sensitivity of heads, and methods that drop, swap and weigh them."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headrouter_analysis.analyses.heads import analyse_heads
from headrouter_analysis.analyses.pairs import Pair
from headrouter_analysis.methods.dropout import HeadDropout
from headrouter_analysis.methods.routing import ProfileRouting
from headrouter_analysis.methods.sensitivity import HeadSensitivity
from headrouter_analysis.methods.swap import HeadSwap
from headrouter_analysis.profile import Profile
from headrouter_analysis.runs import Runs
from headrouter_analysis.statistics import differ_by_group
from headrouter_injection.method import Injection
from torch.nn import functional

from headrouter.editing.editor import Editor
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.head_weights import head_weights, normalised
from headrouter.methods.method import Method, MethodRun, Needs, RunContext
from headrouter.testing.toy import ToyMMDiT

SIZE = (16, 24)
TEXTS = [("a red dog", "a blue dog"), ("the dog", "the cat")]


class Heard(Method):
    """Keeps the per-head output of every attention, as the methods before it left it."""

    seen: Any

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    def begin(self, context: RunContext) -> MethodRun:
        seen = self.seen

        class Run(MethodRun):
            def needs(self, step: int) -> Needs:
                return Needs(attention=frozenset(range(len(context.sites))))

            def after(self, event: Any, output: torch.Tensor) -> torch.Tensor:
                for place, item in enumerate(event.rows):
                    key = event.step_info.step, event.site.index, item.row.image, item.row.is_source, item.cfg_branch
                    seen[key] = output[place], event.layout
                return output

            def diagnostics(self) -> dict[str, torch.Tensor]:
                return {}

        return Run()


def outputs(methods: list[Method], *, text_first: bool = True, guidance: float = 2.0, steps: int = 2) -> dict[Any, Any]:
    heard = Heard(seen={})
    runs = Runs(ToyMMDiT(text_first=text_first), steps=steps, guidance=guidance, size=SIZE)
    runs.compare(TEXTS, [4, 5], [*methods, heard], keep=True)
    assert {block for _, block, *_ in heard.seen} == {0, 1, 2}
    return heard.seen


@pytest.mark.parametrize("text_first", [True, False])
@pytest.mark.parametrize("compare", ["all", "image"])
def test_sensitivity_is_one_minus_cosine_of_the_paired_rows(compare: str, text_first: bool) -> None:
    heard = Heard(seen={})
    runs = Runs(ToyMMDiT(text_first=text_first), steps=2, guidance=2.0, size=SIZE)
    sampled = runs.compare(TEXTS, [4, 5], [HeadSensitivity(compare=compare), heard])
    found = sampled.diagnostics[0]["head_dissimilarity"]
    assert found.shape == (2, 2, 3, 4) and not found.isnan().any() and float(found.min()) > 1e-4
    assert {(step, block, image) for step, block, image, *_ in heard.seen} == set(
        itertools.product((0, 1), (0, 1, 2), (0, 1))
    )
    for (step, block, image, source, branch), (edit, layout) in heard.seen.items():
        if source or branch == "unconditional":
            continue
        pair, _ = heard.seen[step, block, image, True, branch]
        only_image = compare == "image" or block == 2  # the toy's last block discards its text
        rows = [one[:, layout.image] if only_image else one for one in (pair, edit)]
        expected = 1 - functional.cosine_similarity(*(one.flatten(1) for one in rows))
        assert torch.allclose(found[image, step, block], expected, atol=1e-5)


def test_equal_prompts_have_no_sensitivity() -> None:
    runs = Runs(ToyMMDiT(), steps=2, guidance=2.0, size=SIZE)
    sampled = runs.compare([("a dog", "a dog")], [1], [HeadSensitivity(compare="all")])
    assert float(sampled.diagnostics[0]["head_dissimilarity"].abs().max()) == 0


def pairs() -> list[Pair]:
    words = {"colour": ("red", "blue", "green"), "thing": ("dog", "cat", "car")}
    texts = {
        "colour": [(f"a {a} dog", f"a {b} dog") for a in words["colour"] for b in words["colour"] if a != b],
        "thing": [(f"a red {a}", f"a red {b}") for a in words["thing"] for b in words["thing"] if a != b],
    }
    return [Pair(name, *text, seed) for name, both in texts.items() for seed, text in enumerate(both)]


def test_the_analysis_is_the_mean_over_pairs_whatever_the_batch(tmp_path) -> None:
    runs = Runs(ToyMMDiT(), steps=2, size=SIZE)
    whole, parts = (analyse_heads(runs, pairs(), batch=batch) for batch in (12, 5))
    assert torch.allclose(whole.profile.mean, parts.profile.mean, atol=1e-6)
    assert (whole.profile.pairs, whole.profile.semantics) == (6, ("colour", "thing"))
    single = [
        runs.compare([(pair.first, pair.second)], [pair.seed], [HeadSensitivity()]).diagnostics[0]["head_dissimilarity"]
        for pair in pairs()
    ]
    values = torch.stack([one[0].mean(dim=0) for one in single]).double()
    assert torch.allclose(whole.profile.mean[1], values[6:].mean(dim=0), atol=1e-6)
    assert torch.allclose(whole.profile.deviation[0], values[:6].std(dim=0), atol=1e-6)
    profiles = values.log().flatten(1)
    shape = (profiles - profiles.mean(dim=1, keepdim=True)).numpy()
    expected = differ_by_group(shape, np.repeat([0, 1], 6))
    assert whole.specialisation.observed == pytest.approx(expected.observed, rel=1e-3)
    path = tmp_path / "heads.json"
    path.write_text(json.dumps(whole.profile.as_dict()))
    again = Profile.load(tmp_path)
    assert torch.allclose(again.mean, whole.profile.mean, rtol=1e-5) and again.pairs == 6
    assert again.record["specialisation"] == whole.specialisation.as_dict() and again.ranking == whole.profile.ranking


def profile(tmp_path, **changes: Any) -> str:
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(2, 3, 4, dtype=torch.float64, generator=generator) + 0.1
    known = Profile(("colour", "thing"), mean, mean / 10, 6, {})
    path = tmp_path / "heads.json"
    path.write_text(json.dumps({**known.as_dict(), **changes}))
    return str(path)


def test_a_profile_ranks_its_heads_for_methods_that_take_a_list(tmp_path) -> None:
    """Those first that move most over all semantics, whatever the size of each."""
    data = json.loads(Path(profile(tmp_path)).read_text())
    mean = [
        [[entry["mean"][block][head] for entry in data["semantics"].values()] for head in range(4)]
        for block in range(3)
    ]
    product = {
        (block, head): first * second for block, own in enumerate(mean) for head, (first, second) in enumerate(own)
    }
    assert [tuple(head) for head in data["heads"]] == sorted(product, key=lambda head: -product[head])
    assert Injection(heads=str(tmp_path / "heads.json"), top=5).heads == Profile.load(tmp_path).ranking  # type: ignore[arg-type]


def test_specificity_has_neither_the_size_of_the_change_nor_the_liveliness_of_a_head() -> None:
    generator = torch.Generator().manual_seed(0)
    size, lively = torch.tensor([1.0, 30.0]).double(), torch.rand(3, 4, generator=generator).double() + 0.1
    mean = size[:, None, None] * lively
    assert float(Profile(("a", "b"), mean, mean, 2, {}).specificity.abs().max()) < 1e-9
    mean[1, 2, 3] *= 4
    special = Profile(("a", "b"), mean, mean, 2, {})
    assert special.most_sensitive("b", 1, "specificity") == ((2, 3),)
    assert special.most_sensitive("a", 2)[0] == divmod(int(lively.argmax()), 4)


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize(
    ("tokens", "rows", "branches"),
    [("all", "edit", "conditional"), ("image", "all", "both"), ("all", "source", "both")],
)
def test_dropout_replaces_the_chosen_heads_and_nothing_else(fill: str, tokens: str, rows: str, branches: str) -> None:
    plain = outputs([], steps=1)
    dropped = outputs(
        [HeadDropout(heads=((0, 1), (0, 3)), fill=fill, tokens=tokens, rows=rows, branches=branches)], steps=1
    )
    for key in plain:
        _, block, _, source, branch = key
        if block != 0:
            continue
        (before, layout), (after, _) = plain[key], dropped[key]
        acts = (rows == "all" or (rows == "source") == source) and (branch == "conditional" or branches == "both")
        assert torch.equal(after[[0, 2]], before[[0, 2]])
        for part in (layout.image, layout.text):
            expected = before[[1, 3]][:, part]
            if acts and (part is layout.image or tokens == "all"):
                mean = expected.mean(dim=1, keepdim=True).expand_as(expected)
                expected = torch.zeros_like(expected) if fill == "zero" else mean
            assert torch.allclose(after[[1, 3]][:, part], expected, atol=1e-7)


def test_a_step_outside_the_window_is_left_alone() -> None:
    plain, dropped = outputs([]), outputs([HeadDropout(heads=((0, 0),), start=1)])
    first = [key for key in plain if key[0] == 0]
    assert first and all(torch.equal(plain[key][0], dropped[key][0]) for key in first)
    assert any(not torch.equal(plain[key][0], dropped[key][0]) for key in plain if key[0] == 1)


@pytest.mark.parametrize("into", ["edit", "both"])
def test_swap_gives_each_row_the_heads_of_the_other(into: str) -> None:
    plain, swapped = outputs([], steps=1), outputs([HeadSwap(heads=((0, 2),), into=into)], steps=1)
    for image in (0, 1):
        (source, _), (edit, _) = (plain[0, 0, image, one, "conditional"] for one in (True, False))
        (source_after, _), (edit_after, _) = (swapped[0, 0, image, one, "conditional"] for one in (True, False))
        assert not torch.equal(source[2], edit[2])
        assert torch.equal(edit_after[2], source[2]) and torch.equal(edit_after[[0, 1, 3]], edit[[0, 1, 3]])
        assert torch.equal(source_after[2], edit[2] if into == "both" else source[2])
        assert torch.equal(
            swapped[0, 0, image, False, "unconditional"][0], plain[0, 0, image, False, "unconditional"][0]
        )


@pytest.mark.parametrize("by", ["sensitivity", "specificity"])
@pytest.mark.parametrize("amplify", ["output", "difference"])
@pytest.mark.parametrize("where", ["everywhere", "image"])
def test_profile_routing_amplifies_by_the_weights_of_the_profile(tmp_path, by: str, amplify: str, where: str) -> None:
    path = profile(tmp_path)
    method = ProfileRouting(profile=path, semantic="thing", by=by, gamma=0.5, amplify=amplify, where=where)
    known = Profile.load(path)
    scores = known.mean[1] if by == "sensitivity" else known.specificity[1]
    expected = head_weights(normalised(scores), 0.5, 10.0, 0.5).float()
    assert torch.allclose(method.weights, expected) and float(expected.max() - expected.min()) > 0.3
    plain, routed = outputs([], steps=1), outputs([method], steps=1)
    for key, (before, layout) in plain.items():
        _, block, image, source, branch = key
        if block != 0:
            continue
        after = routed[key][0]
        if source or branch == "unconditional":
            assert torch.equal(after, before)
            continue
        more = before if amplify == "output" else before - plain[0, 0, image, True, branch][0]
        asked = before + (expected[0] - 1)[:, None, None] * more
        assert torch.allclose(after[:, layout.image], asked[:, layout.image], atol=1e-6)
        untouched = before if where == "image" else asked
        assert torch.allclose(after[:, layout.text], untouched[:, layout.text], atol=1e-6)


def test_profile_routing_of_differences_needs_a_source(tmp_path) -> None:
    editor = Editor(ToyMMDiT(), "euler", None, progress=False)
    known = {"profile": profile(tmp_path), "semantic": "thing", "gamma": 2.0}
    with pytest.raises(IncompatibleError, match=r"'difference' compares .* use `method\.amplify='output'`"):
        editor.generate(["a dog"], steps=1, method=ProfileRouting(**known))
    plain, routed = (
        np.asarray(editor.generate(["a dog"], steps=1, method=method)[0])
        for method in (None, ProfileRouting(amplify="output", **known))
    )
    assert not np.array_equal(plain, routed)


def test_a_shuffled_profile_has_the_same_weights_on_other_heads(tmp_path) -> None:
    path = profile(tmp_path)
    right, wrong = (ProfileRouting(profile=path, semantic="thing", shuffle=seed).weights for seed in (None, 0))
    assert torch.equal(right.sort(dim=1).values, wrong.sort(dim=1).values) and not torch.equal(right, wrong)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda path: HeadDropout(heads=((3, 0),)),
            r"`heads` \[3, 0\] does not exist: .* layers 0 to 2 with heads 0 to 3",
        ),
        (lambda path: HeadSwap(heads=((0, 4),)), r"`heads` \[0, 4\] does not exist"),
    ],
)
def test_heads_that_are_not_there_are_refused(tmp_path, build, said) -> None:
    with pytest.raises(InvalidInputError, match=said):
        outputs([build(profile(tmp_path))])


@pytest.mark.parametrize(
    ("changes", "semantic", "said"),
    [
        ({}, "shape", "'shape' is not in the profile; it has: colour, thing"),
        ({"kind": "blocks"}, "thing", "is not a sensitivity profile"),
        ({"semantics": {"thing": {"mean": [[1, 2]]}}}, "thing", "is damaged"),
        ({"semantics": {"thing": {"mean": [1], "deviation": [1]}}}, "thing", "is damaged"),
    ],
)
def test_profiles_that_do_not_fit_are_refused_when_they_are_named(tmp_path, changes, semantic, said) -> None:
    with pytest.raises(ValueError, match=said):
        ProfileRouting(profile=profile(tmp_path, **changes), semantic=semantic)


def test_routing_by_no_profile_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="`profile` must name a file"):
        outputs([ProfileRouting()])
    with pytest.raises(ValueError, match="`profile` must name a file"):
        ProfileRouting(semantic="colour")


def test_a_profile_of_another_model_and_runs_that_lack_a_row_are_refused(tmp_path) -> None:
    known = Profile(("thing",), torch.rand(2, 2, 4).double()[:1], torch.zeros(1, 2, 4).double(), 3, {})
    (tmp_path / "heads.json").write_text(json.dumps(known.as_dict()))
    with pytest.raises(InvalidInputError, match="2 layers of 4 heads, this model has 3 of 4"):
        outputs([ProfileRouting(profile=str(tmp_path), semantic="thing")])
    editor = Editor(ToyMMDiT(), "euler", None, progress=False)
    for method, said in (
        (HeadSwap(heads=((0, 0),)), "this run has no source"),
        (HeadSensitivity(), "this run has no source"),
        (HeadDropout(heads=((0, 0),), rows="source"), "needs a source row"),
    ):
        with pytest.raises((IncompatibleError, InvalidInputError), match=said):
            editor.generate(["a dog"], steps=1, method=method)


def test_swapping_with_several_edits_is_refused() -> None:
    from PIL import Image

    editor = Editor(ToyMMDiT(), "euler", HeadSwap(heads=((0, 0),), into="both"), progress=False)
    with pytest.raises(IncompatibleError, match="swaps a source with one edit"):
        editor.edit(Image.new("RGB", (32, 32)), ["a dog", "a cat"], "a bird", steps=1)
