"""The companions of an image in formats that hold them in rows: read whole, one image at a time."""

from .token_samples import TokenSample

MAX_MEMBER = 256 << 20


def read_members(sample: TokenSample) -> dict[str, bytes]:
    """Return the companions of a sample by extension; raise ValueError for one that is too large, and UnreadableInputError."""
    contents = {}
    for companion in sample.companions:
        if companion.entry.size > MAX_MEMBER:
            raise ValueError(
                f"{companion.entry.name} has {companion.entry.size:,} bytes, but only --format wds keeps files of more than "
                f"{MAX_MEMBER:,} beside an image: use it, or leave .{companion.extension} out with --keep."
            )
        with companion.open() as file:
            contents[companion.extension] = file.read()
    return contents
