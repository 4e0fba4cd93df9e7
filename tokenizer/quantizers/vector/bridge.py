"""VQBridge: a small transformer between the basis and the codes (FVQ, arXiv 2509.10140)."""

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ...shapes import Codes

HEADS = 4
LAYERS = 2


class BridgeProjection(nn.Module):
    """Compress `patch` neighbouring codes into one token, process the tokens with pre-norm layers, and recover the codes.

    The result is added to the basis. The last layer starts at zero, so the codes start as their basis.
    """

    def __init__(self, dim: int, patch: int, width: int):
        super().__init__()
        self.patch = patch
        self.compress = nn.Linear(patch * dim, width)
        self.process = nn.Sequential(*(BridgeLayer(width) for _ in range(LAYERS)))
        self.recover = nn.Linear(width, patch * dim)
        nn.init.zeros_(self.recover.weight)
        nn.init.zeros_(self.recover.bias)

    def forward(self, basis: Codes) -> Codes:
        tokens = self.compress(rearrange(basis, "(n patch) d -> 1 n (patch d)", patch=self.patch))
        change = self.recover(self.process(tokens))
        return basis + rearrange(change, "1 n (patch d) -> (n patch) d", patch=self.patch)


class BridgeLayer(nn.Module):
    """A pre-norm transformer layer that never holds the attention matrix, whether gradients are recorded or not.

    Without gradients `nn.TransformerEncoderLayer` holds it: 4 GB for a codebook of 262,144.
    """

    def __init__(self, width: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width)
        self.inner_in = nn.Linear(width, 4 * width)
        self.inner_out = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed = self.attention_in(self.attention_norm(tokens))
        query, key, value = rearrange(mixed, "b n (part h d) -> part b h n d", part=3, h=HEADS)
        attended = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.attention_out(rearrange(attended, "b h n d -> b n (h d)"))
        return tokens + self.inner_out(functional.gelu(self.inner_in(self.inner_norm(tokens))))
