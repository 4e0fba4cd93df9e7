"""All that the page about a folder of token shards is made of."""

from typing import NamedTuple

from torch import Tensor

from ..api import Tokenizer
from ..token_shards.manifest import Manifest
from ..token_shards.store import Store
from .call import Call
from .contents import Contents
from .reconstructions import Reconstructions
from .survey import Survey


class Collection(NamedTuple):
    """A folder of token shards, as it was when it was read."""

    store: Store
    manifest: Manifest
    """As it is on the disk; its totals may be those of an earlier call."""
    contents: Contents
    unsealed: list[str]
    """Shards without a sidecar that fits."""
    survey: Survey
    times: dict[str, float]
    """When files were written, in seconds since 1970, as far as the store tells."""
    tokenizer: Tokenizer | None
    reconstructions: Reconstructions | None
    """None where nothing could be decoded."""
    missing: str = ""
    """Why there are no reconstructions, or none beside originals, in a sentence."""
    call: Call | None = None
    """The call that made it, when the page is written at its end."""

    @property
    def counts(self) -> Tensor:
        """Tokens of each code, `q k`: of all rows, as far as they are known, else of those that were read."""
        return self.call.counts if self.call and self.call.counts is not None else self.survey.counts

    @property
    def is_whole_read(self) -> bool:
        """Whether all rows were read."""
        return self.survey.rows + self.survey.damaged_rows >= self.contents.rows
