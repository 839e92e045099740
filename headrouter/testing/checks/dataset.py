"""Check a data set: keys that name files, pictures and masks that fit, and a revision that is that of the data."""

import re
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from headrouter.experiments.dataset import Item
from headrouter.testing.check import check, collect, expect
from headrouter.testing.subjects import DatasetSubject

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _pictures(subject: DatasetSubject) -> Iterator[list[Item]]:
    """Yield the items of each picture, as they follow each other."""
    return (list(group) for _, group in groupby(subject.build().items(), key=lambda item: item.picture_key))


@check(since="0.3")
def keys_name_files(subject: DatasetSubject) -> None:
    """Keys of edits and pictures can name files, and no two edits have the same, capitals or not.

    If this fails: make keys of letters of English, digits, `.`, `_` and `-`, and refuse ids that are there twice.
    """
    items = subject.build().items()
    expect(len(items) > 0, "it has no items")
    for item in items:
        for key in (item.key, item.picture_key):
            expect(bool(_SAFE.fullmatch(key)), f"the key {key!r} cannot name a file")
    folded = [item.key.casefold() for item in items]
    twice = sorted({key for key in folded if folded.count(key) > 1})
    expect(not twice, f"the keys {', '.join(twice)} are there twice")


@check(since="0.3")
def items_have_texts(subject: DatasetSubject) -> None:
    """Each edit has a prompt and a kind; the other texts may be empty.

    If this fails: refuse rows without a prompt when the table is read; give sets without kinds one word for all.
    """
    for item in subject.build().items():
        texts = (item.prompt, item.kind, item.source_prompt, item.instruction)
        expect(all(isinstance(text, str) for text in texts), f"{item.key}: a text is none: {texts!r}")
        expect(bool(item.prompt.strip()), f"{item.key}: its prompt is empty")
        expect(bool(item.kind.strip()), f"{item.key}: its kind is empty")


@check(since="0.3")
def edits_of_a_picture_belong_together(subject: DatasetSubject) -> None:
    """Edits of one picture follow each other, with one source prompt and one number, which no other picture has.

    If this fails: bring the rows of a picture together; a picture with another source prompt gets another key.
    """
    owners: dict[int, str] = {}
    seen = set[str]()
    for group in _pictures(subject):
        key = group[0].picture_key
        expect(key not in seen, f"edits of the picture {key} do not follow each other")
        seen.add(key)
        expect(len({item.source_prompt for item in group}) == 1, f"edits of {key} have several source prompts")
        expect(len({item.number for item in group}) == 1, f"edits of {key} have several numbers")
        owner = owners.setdefault(group[0].number, key)
        expect(owner == key, f"the pictures {owner} and {key} have the same number")


@check(since="0.3")
def pictures_and_masks_fit(subject: DatasetSubject) -> None:
    """Pictures are RGB, edits of one picture have the same, and masks and truths have its size.

    If this fails: convert pictures to RGB; return masks as bool [H, W], rows first; refuse other sizes in `items`.
    """
    for group in _pictures(subject):
        first = group[0].picture()
        for item in group:
            picture, mask, truth = item.picture(), item.mask(), item.truth()
            expect(picture.mode == "RGB", f"{item.key}: its picture is {picture.mode}")
            expect(picture == first, f"{item.key}: its picture is another than that of {group[0].key}")
            if mask is not None:
                right = isinstance(mask, np.ndarray) and mask.dtype == np.bool_
                expect(right, f"{item.key}: its mask is no array of truth values")
                expect(
                    mask.shape == picture.size[::-1],
                    f"{item.key}: its mask has the shape {mask.shape}, and the picture {picture.size}",
                )
            if truth is not None:
                right = truth.mode == "RGB" and truth.size == picture.size
                expect(
                    right,
                    f"{item.key}: its truth is {truth.mode} of {truth.size}, and the picture RGB of {picture.size}",
                )


@check(since="0.3")
def reading_is_a_function(subject: DatasetSubject) -> None:
    """Reading again gives the same edits in the same order, and the same revision.

    If this fails: sort what a folder lists; hash contents, neither paths nor times.
    """
    first, again = subject.build(), subject.build()
    expect(
        [_texts(item) for item in first.items()] == [_texts(item) for item in again.items()],
        "other items when read again",
    )
    expect(
        bool(first.revision) and first.revision == again.revision, f"revisions {first.revision!r}, {again.revision!r}"
    )


def _texts(item: Item) -> tuple[object, ...]:
    return item.key, item.picture_key, item.number, item.kind, item.source_prompt, item.prompt, item.instruction


@check(since="0.3", requires={"change"})
def the_revision_changes_with_the_data(subject: DatasetSubject) -> None:
    """After the data has changed, in a picture alone or in a text, the revision is another.

    If this fails: hash the pictures' bytes and the table's values, not their names or sizes.
    """
    assert subject.change is not None
    before = subject.build().revision
    subject.change()
    expect(subject.build().revision != before, "the revision is the same after the data has changed")


@check(since="0.3")
def kinds_of_the_radar_chart_are_eight_at_most(subject: DatasetSubject) -> None:
    """`radar` maps kinds to at most eight others.

    If this fails: leave out the kinds that are none of the eight.
    """
    radar = subject.build().radar
    expect(len(set(radar.values())) <= 8, f"`radar` has {len(set(radar.values()))} kinds")


CHECKS = collect(globals())
