"""Which mask belongs to which photo, decided by names alone: paths with / between folders, relative to anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import basename, dirname

from unscene.scenes.capture import listing
from unscene.scenes.path_names import (
    by_number,
    last_digits,
    natural_order,
    running_numbers,
    spellings,
    splits_number,
    stem_parts,
)  # fmt: skip
from unscene.scenes.scene import SceneError

HYPOTHESES_FROM = 24  # masks whose names suggest what was put around the photos' names

Owners = list[int | None]  # for each mask the index of its photo


@dataclass(frozen=True)
class Pairing:
    """For each photo the indices of its masks (several are parts of one), and what had to be assumed."""

    masks: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()


def pair_by_name(
    masks: Sequence[str], photos: Sequence[str], source: str, unposed: Sequence[str] = ()
) -> Pairing | None:
    """Pair by the longest common ending of the paths, else with a prefix or suffix removed, else by number.

    unposed: photos that are no views, so that their masks are not taken for the views'. None if no name fits. Raises
    SceneError if masks and photos seem to be numbered from different starts, or if two masks claim one photo.
    """
    names = _PhotoNames([*photos, *unposed])
    owners = names.owners([spellings(mask) for mask in masks])
    if not _any(owners):
        owners = _by_affix(masks, names, source)
    if not _any(owners):
        owners = _by_number(masks, names.photos, len(photos))
    _refuse_shift(masks, photos, owners, source)
    pairing = _pairing(masks, photos, owners, source)
    return pairing if any(pairing.masks) else None


def pair_by_order(masks: Sequence[str], photos: Sequence[str], source: str, unposed: Sequence[str] = ()) -> Pairing:
    """Pair the masks of each folder with the photos in natural order (2 before 10), which the photos must come in.

    As many masks as photos are needed, with or without the photos that are no views. Raises SceneError otherwise.
    """
    every = sorted([*photos, *unposed], key=natural_order)
    chosen: list[list[int]] = [[] for _ in photos]
    for group in _folders(masks).values():
        ordered = sorted(group, key=lambda mask: natural_order(masks[mask]))
        partners = every if len(group) == len(every) else list(photos)
        example = f"({basename(masks[ordered[0]])} and {basename(photos[0])})"
        if len(group) != len(partners):
            raise SceneError(
                f"{source}: expected one mask per photo, named like it, got {len(group)} masks for {len(photos)} "
                f"photos and no common name {example}; rename the masks like the photos."
            )
        if list(photos) != sorted(photos, key=natural_order):
            raise SceneError(
                f"{source}: expected masks named like the photos, got other names {example}, and the photos are not "
                "listed in the order of their names, so that pairing by order would be a guess; rename the masks like "
                "the photos."
            )
        of_photo = dict(zip(partners, ordered, strict=True))
        for view, photo in enumerate(photos):
            chosen[view].append(of_photo[photo])
    first = f"{basename(masks[chosen[0][0]])}, {basename(photos[0])}"
    note = f"{source}: masks are named differently from the photos ({first}); paired by order"
    return Pairing(tuple(map(tuple, chosen)), (note, *_union_note(masks, chosen, source)))


def masks_beside(files: Sequence[str]) -> set[str]:
    """Those of one folder's files that are masks of others there: called like another, with "mask" before or after."""
    stems = {file: stem_parts(file)[-1] for file in files}
    known = set(stems.values())

    def is_mask(stem: str) -> bool:
        cuts = (cut for cut in range(1, len(stem)) if not splits_number(stem, cut))
        halves = ((stem[:cut], stem[cut:]) for cut in cuts)
        return any((a in known and "mask" in b) or (b in known and "mask" in a) for a, b in halves)

    return {file for file, stem in stems.items() if "mask" in stem and is_mask(stem)}


class _PhotoNames:
    """Photos by every ending of their paths: looking a mask up takes as long as its own path has folders."""

    def __init__(self, photos: Sequence[str]):
        self.photos = photos
        self.endings: dict[tuple[str, ...], int | None] = {}  # None: several photos that lie equally deep
        for index in sorted(range(len(photos)), key=self._depth):
            for parts in (spellings(photos[index])[0], stem_parts(photos[index])):
                for start in range(len(parts)):
                    ending = parts[start:]
                    for spelt in {ending, ("-".join(ending),), ("_".join(ending),)}:  # as tools write without folders
                        self._add(spelt, index)

    def owners(self, masks: Sequence[Sequence[tuple[str, ...]]]) -> Owners:
        """For each mask, spelt in one way or several, the photo with the longest common ending.

        A photo keeps only those masks that are nearest to it.
        """
        nobody: tuple[int | None, tuple[int, int]] = (None, (0, 0))
        claims = [max(map(self._claim, keys), key=lambda claim: claim[1], default=nobody) for keys in masks]
        best: dict[int | None, tuple[int, int]] = {}
        for photo, nearness in claims:
            best[photo] = max(best.get(photo, nearness), nearness)
        return [photo if best[photo] == nearness else None for photo, nearness in claims]

    def _add(self, ending: tuple[str, ...], index: int) -> None:
        first = self.endings.setdefault(ending, index)
        if first is not None and first != index and self._depth(first) == self._depth(index):
            self.endings[ending] = None

    def _depth(self, index: int) -> int:
        return self.photos[index].count("/")

    def _claim(self, parts: tuple[str, ...]) -> tuple[int | None, tuple[int, int]]:
        """The photo, and how near the mask is to it: by a long ending, then by few folders before that."""
        start = next((i for i in range(len(parts)) if parts[i:] in self.endings), len(parts))
        photo = self.endings.get(parts[start:])
        return photo, (0, 0) if photo is None else (len(parts) - start, -start)


def _by_affix(masks: Sequence[str], names: _PhotoNames, source: str) -> Owners:
    """Photos by the masks' names without the prefix and suffix that most of a folder's masks share."""
    rests: list[list[tuple[str, ...]]] = [[] for _ in masks]
    for group in _folders(masks).values():
        stems = {mask: stem_parts(masks[mask])[-1] for mask in group}
        affix, matched = _best_affix(stems, names)
        if not matched or 2 * len(matched) < min(len(group), len(names.photos)):
            continue
        rest = stems.keys() - set(matched)
        other, others = _best_affix({mask: stems[mask] for mask in rest}, names)
        if others and 2 * len(others) >= len(matched):  # two kinds of files, of which at most one is called mask
            called_mask = ["mask" in "".join(around) for around in (affix, other)]
            if called_mask[0] == called_mask[1]:
                raise SceneError(
                    f"{source}: expected one mask per photo, got several kinds of files "
                    f"({basename(masks[matched[0]])} and {basename(masks[others[0]])}); keep one kind, or put the "
                    "masks of each object into a folder of its own."
                )
            if called_mask[1]:
                affix, matched = other, others
        for mask in matched:
            *folders, stem = stem_parts(masks[mask])
            rests[mask] = [(*folders, stem[len(affix[0]) : len(stem) - len(affix[1])])]
    return names.owners(rests)


def _best_affix(stems: dict[int, str], names: _PhotoNames) -> tuple[tuple[str, str], list[int]]:
    """The (prefix, suffix) without which most masks are called like photos, and these masks; no masks if none are."""
    suggested = {
        (stem[:start], stem[end:])
        for stem in list(stems.values())[:: max(1, len(stems) // HYPOTHESES_FROM)]
        for start in range(len(stem))
        for end in range(start + 1, len(stem) + 1)
        if (stem[start:end],) in names.endings and not splits_number(stem, start) and not splits_number(stem, end)
    }
    best, matched = ("", ""), list[int]()
    for prefix, suffix in sorted(suggested, key=lambda affix: (len(affix[0]) + len(affix[1]), affix)):
        around = len(prefix) + len(suffix)
        with_it = [
            mask
            for mask, stem in stems.items()
            if len(stem) > around and stem.startswith(prefix) and stem.endswith(suffix)
            and (stem[len(prefix) : len(stem) - len(suffix)],) in names.endings
        ]  # fmt: skip
        if len(with_it) > len(matched):
            best, matched = (prefix, suffix), with_it
    return best, matched


def _by_number(masks: Sequence[str], photos: Sequence[str], views: int) -> Owners:
    """Photos by number (7 is 007) where all masks or all views find a partner."""
    owners: Owners = [None] * len(masks)
    of_photos = running_numbers(photos)
    if None in of_photos:  # something else lies beside the views
        of_photos = running_numbers(photos[:views])
    index = {number: photo for photo, number in enumerate(of_photos)}
    if None in index or len(index) != len(of_photos):
        return owners
    for group in _folders(masks).values():
        of_masks = running_numbers([masks[mask] for mask in group])
        if None in of_masks or len(set(of_masks)) != len(of_masks):
            continue
        if set(of_masks) <= index.keys() or set(of_photos[:views]) <= set(of_masks):
            for mask, number in zip(group, of_masks, strict=True):
                owners[mask] = index.get(number)
    return owners


def _refuse_shift(masks: Sequence[str], photos: Sequence[str], owners: Owners, source: str) -> None:
    """SceneError if one count seems to begin at 0 and the other at 1: moved by one, more masks have a photo."""
    taken = set(owners)
    lacking = [photo for index, photo in enumerate(photos) if index not in taken]
    unowned = [mask for mask, owner in zip(masks, owners, strict=True) if owner is None]
    if not lacking or not unowned or len(_folders(photos)) > 1:
        return
    numbered_photos = by_number(photos)
    paired = {basename(mask) for mask, owner in zip(masks, owners, strict=True) if owner is not None}
    for group in _folders(masks).values():
        if all(basename(masks[mask]) in paired for mask in group):
            continue  # namesakes in another folder, of one of several objects say
        numbered = by_number([masks[mask] for mask in group])
        in_place = sum(owners[mask] is not None for mask in group)
        for step in (1, -1):
            pairs = [(mask, numbered_photos[n + step]) for n, mask in numbered.items() if n + step in numbered_photos]
            alike = sum(len(last_digits(mask)) == len(last_digits(photo)) for mask, photo in pairs)
            if len(pairs) > max(in_place, len(numbered) // 2) and 2 * alike > len(pairs):
                raise SceneError(
                    f"{source}: expected masks numbered like the photos, but {basename(unowned[0])} belongs to no "
                    f"photo and {basename(lacking[0])} has no mask, as if one counted from 0 and the other from 1; "
                    "rename the masks like the photos."
                )


def _pairing(masks: Sequence[str], photos: Sequence[str], owners: Owners, source: str) -> Pairing:
    chosen: list[list[int]] = [[] for _ in photos]
    for mask, owner in enumerate(owners):
        if owner is not None and owner < len(photos):
            chosen[owner].append(mask)
    for photo, of_photo in zip(photos, chosen, strict=True):
        if len({dirname(masks[mask]) for mask in of_photo}) < len(of_photo):
            raise SceneError(
                f"{source}: expected one mask per photo, got {listing([basename(masks[mask]) for mask in of_photo])} "
                f"for {basename(photo)}; remove all but one."
            )
    lost = [masks[mask] for mask, owner in enumerate(owners) if owner is None]
    left_out = (
        f"{len(lost)} of {len(masks)} files are left out, as they belong to no photo or to one with a nearer mask"
    )
    notes = (f"{source}: {left_out}: {listing(lost)}",) if lost else ()
    return Pairing(tuple(map(tuple, chosen)), (*notes, *_union_note(masks, chosen, source)))


def _union_note(masks: Sequence[str], chosen: Sequence[Sequence[int]], source: str) -> tuple[str, ...]:
    folders = sorted({dirname(masks[mask]) for of_photo in chosen if len(of_photo) > 1 for mask in of_photo})
    if not folders:
        return ()
    named = listing([f"{folder or '.'}/" for folder in folders])
    return (f"{source}: the masks of {len(folders)} folders are put together: {named}; --masks takes one of them",)


def _folders(paths: Sequence[str]) -> dict[str, list[int]]:
    """Indices of the paths of each folder."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        groups[dirname(path)].append(index)
    return groups


def _any(owners: Owners) -> bool:
    return any(owner is not None for owner in owners)
