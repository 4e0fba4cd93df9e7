"""Read the tensors of a checkpoint without running code in it."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...tokenizer.files import check_no_pointer
from ...tokenizer.wording import list_first, shortened
from ..checkpoints.mapped_file import DamagedFileError, MappedFile, UnreadKindError
from ..checkpoints.rebuilt_tensors import tensor_of
from ..checkpoints.safetensors_file import read_safetensors
from ..checkpoints.state_dict import WRAPPERS, find_state_dicts, has_tensors
from ..checkpoints.torch_file import TorchFile, may_make_tensors, read_torch
from ..checkpoints.weight_files import SAFETENSORS, TORCHSCRIPT, read_settings, weight_files

MAX_INFLATION = 2
"""Max bytes of the tensors for a byte of the files: more than one where several names have the same values."""
SHOWN = 4


class Checkpoint(NamedTuple):
    """What the files of a checkpoint hold."""

    tensors: Mapping[str, Tensor]
    """By name, mapped into memory: change none in place."""
    settings: Mapping[str, Any]
    """Content of config.json beside it, empty if there is none."""
    files: tuple[Path, ...] = ()
    found_at: str = ""
    """The keys under which the file holds the weights, such as "state_dict", with dots between them."""
    release: Callable[[], None] = lambda: None
    """Gives back the memory of tensors that were used; they are read again when they are used again."""

    def where(self, path: Path) -> str:
        """Return the path as the subject of a sentence, with the keys under which its file holds the weights."""
        return f"{path} (its tensors under {shortened(self.found_at)})" if self.found_at else str(path)


class _Part(NamedTuple):
    """What one file holds."""

    tensors: dict[str, Tensor]
    found_at: str = ""


def read_checkpoint(path: Path, trust_pickle: bool = False, wrappers: Sequence[str] = ()) -> Checkpoint:
    """Return the tensors of a file, or of a folder with one or several, by name, and the settings beside them.

    `wrappers` are further keys under which a file may have them.
    With `trust_pickle` the files are unpickled, which runs their code. Without, nothing in them is imported or called.

    Raises ValueError when there are no tensors, or a file is damaged.
    """
    files = weight_files(path)
    settings = read_settings(path)
    mapped: list[MappedFile] = []
    tensors: dict[str, Tensor] = {}
    parts = [_read(file, trust_pickle, mapped, wrappers) for file in files]
    counted = sum(math.prod(tensor.shape) * tensor.itemsize for part in parts for tensor in part.tensors.values())
    held = sum(file.stat().st_size for file in files)
    if counted > MAX_INFLATION * held and not trust_pickle:
        raise ValueError(
            f"{path} is damaged (its tensors count {counted} bytes, but it has {held}): download it again."
        )
    for file, part in zip(files, parts, strict=True):
        for name, tensor in part.tensors.items():
            if name in tensors and not _same(tensors[name], tensor):
                raise ValueError(
                    f"{path} has two tensors {shortened(name)}, the second in {file.name}: give the file that is meant."
                )
            tensors.setdefault(name, tensor)

    def release() -> None:
        for each in mapped:
            each.release()

    return Checkpoint(tensors, settings, tuple(files), parts[0].found_at, release)


def _read(path: Path, trust_pickle: bool, mapped: list[MappedFile], wrappers: Sequence[str]) -> _Part:
    check_no_pointer(path)
    if trust_pickle and path.suffix != SAFETENSORS:
        return _weights(path, TorchFile(_unpickled(path), lambda _: torch.empty(0)), True, wrappers)
    try:
        mapped.append(MappedFile(path))
        if path.suffix == SAFETENSORS:
            return _Part(read_safetensors(path, mapped[-1]))
        return _weights(path, read_torch(path, mapped[-1]), False, wrappers)
    except UnreadKindError as error:
        raise _unread(path, *error.args) from None
    except DamagedFileError as error:
        raise ValueError(f"{path} is damaged ({error}): download it again.") from None


def _weights(path: Path, file: TorchFile, trusted: bool, wrappers: Sequence[str]) -> _Part:
    all_found = find_state_dicts(file.content, wrappers)
    if len(all_found) > 1:
        keys = [shortened(".".join(found.path)) for found in all_found]
        raise ValueError(
            f"{path} holds tensors under several keys ({list_first(keys, SHOWN)}): save those of the tokenizer in a file of "
            "their own."
        )
    if not all_found and has_tensors(file.content):
        raise ValueError(
            f"{path} holds tensors, but not by names that are text, as a state dict does: save the state dict itself."
        )
    if not all_found:
        # Plain data stays what it is, and TorchScript is no pickle.
        may_help = not trusted and path.suffix not in TORCHSCRIPT and may_make_tensors(file.content)
        how, instead = (
            (" that can be read without running its code", ", or add --trust-pickle where you trust it")
            if may_help
            else ("", "")
        )
        raise ValueError(
            f"{path} holds no tensors{how}, neither by themselves nor under {', '.join([*WRAPPERS, *wrappers])}: give the "
            f"file of the weights{instead}."
        )
    found = all_found[0]
    if lost := found.lost():
        raise ValueError(f"{path} has a tensor {lost}: save the state dict alone, with every tensor by its name.")
    tensors = {}
    for name, value in found.tensors.items():
        try:
            tensors[name] = tensor_of(value, file.values)
        except UnreadKindError as error:
            raise _unread(path, name, *error.args) from None
    return _Part(tensors, ".".join(found.path))


def _unread(path: Path, name: str, kind: str) -> ValueError:
    return ValueError(
        f"{path} has the tensor {shortened(name)}, which is {kind}: save it as a dense tensor of real numbers, or leave it out."
    )


def _unpickled(path: Path) -> Any:
    """Return what a pickle makes, which may be anything."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of the code in the file, which may also exit
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(
            f"{path} cannot be unpickled ({type(error).__name__}: {said}): install what it needs, or download it again."
        ) from None


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
