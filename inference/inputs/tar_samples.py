"""The samples of a webdataset shard: files of one key, as webdataset groups them, of which one is the image."""

import os
from collections import Counter
from dataclasses import dataclass

from ...images.finding.inputs import is_image
from ...images.tars.members import Member, tar_members
from .companions import Keep
from .input_files import digest, file_state
from .keys import make_unique, normalised_key, webdataset_extension, webdataset_key
from .samples import Companion, Listing, Sample, kind_of


@dataclass(frozen=True)
class TarSource:
    """A tar whose samples become one shard."""

    path: str
    name: str
    keep: Keep

    def list_samples(self) -> Listing:
        """List the samples under normalised keys; every member is in a sample or counted as passed over."""
        groups: dict[str, list[Member]] = {}
        passed_over: Counter[str] = Counter()
        for member in tar_members(self.path):
            if member.entry is None and not member.problem:
                passed_over[member.kind] += 1
            else:
                groups.setdefault(webdataset_key(member.name), []).append(member)
        given = [key for key in groups if os.path.basename(key)]  # a file without a key takes none from another
        keys = dict(zip(given, make_unique(given), strict=True))
        samples = []
        for key, members in groups.items():
            samples += _samples(keys.get(key, normalised_key(key)), members, self.keep, passed_over)
        return Listing(samples, passed_over)

    def digest(self) -> str:
        return digest([file_state(self.path, self.name)])


def _samples(key: str, members: list[Member], keep: Keep, passed_over: Counter[str]) -> list[Sample]:
    whole = [member for member in members if member.entry is not None]
    images = [member for member in whole if is_image(member.name)]
    rows = [Sample(key, member.name, None, member.problem) for member in members if member.entry is None]
    others = [member for member in whole if not is_image(member.name)]
    has_key = os.path.basename(webdataset_key(members[0].name)) != ""
    if not has_key or not images:
        without_key = [
            Sample(key, image.name, None, f"{image.name} has nothing before its dot for a key") for image in images
        ]
        if has_key and whole:
            first, *others = others
            rows.append(Sample(key, first.name, None, "the sample has no file with an image's ending"))
        passed_over.update(kind_of(member.name) for member in others)
        return [*without_key, *rows]
    # `1.seg.png` beside `1.png` describes the image; beside `1.depth.png` alone both are images of equal rank.
    image = next((member for member in images if "." not in webdataset_extension(member.name)), images[0])
    is_plain = "." not in webdataset_extension(image.name)
    companions: dict[str, Companion] = {}
    for member in whole:
        extension = webdataset_extension(member.name)
        if member is image:
            continue
        if is_image(member.name) and not (is_plain and "." in extension):
            rows.append(Sample(key, member.name, None, f"{member.name} shares its key with {image.name}"))
        elif keep.keeps_member(extension) and extension not in companions:
            assert member.entry is not None
            companions[extension] = Companion(extension, member.entry)
        else:
            passed_over[kind_of(member.name)] += 1
    return [Sample(key, image.name, image.entry, companions=tuple(companions.values())), *rows]
