"""What learns beside the network of a run, from what that has made: a discriminator, or a fake network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from torch import Tensor, nn

from ..tokenizer.shapes import Latent, Pixels
from .optimizer.skipping import Decision

Decide: TypeAlias = Callable[[Mapping[str, Tensor], Tensor], Decision]
"""Gets the scalars of a step and the norm of its gradient, and says whether to skip it."""


class Made(NamedTuple):
    """What the network of a run made of one micro-batch, without gradients."""

    pixels: Pixels
    """Its answer, not clamped."""
    quantized: Latent
    """What it was made from."""
    base: Pixels
    """The answer of the plain decoder, not clamped: the same pixels where that is what the run trains."""


class Opponent(Protocol):
    """A network with its own optimizer that learns after each step of a run's network; its state is in the checkpoint."""

    name: str
    """In messages and in checkpoints, such as discriminator."""
    loss_path: str
    """Path of its loss in the log, such as discriminator/loss."""
    section: str
    """Section of the log for its skipped steps."""
    lr_option: str
    """Option of its learning rate, such as adversarial.lr."""
    start: int
    """Steps before its first one."""
    steps_each: int
    """Its own steps for each step of the run."""
    optimizer: Any
    """As accelerate wraps it."""

    @property
    def network(self) -> nn.Module:
        """What learns."""

    def learn(
        self, step: int, images: Sequence[Pixels], made: Sequence[Made], lr_factor: float, decide: Decide
    ) -> tuple[dict[str, Tensor], Decision]:
        """Learn from the micro-batches of a step, at `lr_factor` of the peak learning rate, unless `decide` skips it.

        Returns scalars by log path, and the decision; no scalars before its start. No device sync.
        """

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...
