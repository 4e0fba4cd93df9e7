"""Which token shards are to be packed: those that no whole packed shard was made of."""

from collections.abc import Sequence
from pathlib import PurePath

from ..inputs.input_files import digest
from ..packed_shards.manifest import PackedManifest
from ..packed_shards.sidecar import NO_SIDECARS, PackedSidecar, packed_sidecars, sidecar_of
from ..token_dataset.folder import TokenFolder
from ..token_shards.sidecar import Sidecar, all_sidecars
from ..token_shards.store import Store
from .job import PackTask


def plan_tasks(folder: TokenFolder) -> list[PackTask]:
    """Return a task for each shard of a folder, in the order of their names; raise ValueError for a name that is taken."""
    wanted = {shard.name for shard in folder.shards}
    described = [each for each in all_sidecars(folder.store, folder.store.sizes()) if each.shard in wanted]
    tasks = [PackTask(PurePath(each.shard).stem, each, _inputs(each)) for each in described]
    for task in tasks:
        if sidecar_of(task.name) in NO_SIDECARS:
            raise ValueError(
                f"{task.source.shard} would have the sidecar {sidecar_of(task.name)}: rename the token shard."
            )
    return tasks


def pending_tasks(tasks: Sequence[PackTask], store: Store, manifest: PackedManifest) -> list[PackTask]:
    """Return the tasks that are not done; raise ValueError when a shard was packed with other settings or from others."""
    sizes = store.sizes()
    done = {sidecar.shard: sidecar for sidecar in packed_sidecars(store, sizes) if sidecar.is_whole(sizes)}
    return [task for task in tasks if not _is_done(task, done.get(task.name), store, manifest)]


def _is_done(task: PackTask, sidecar: PackedSidecar | None, store: Store, manifest: PackedManifest) -> bool:
    if sidecar is None:
        return False
    path, remedy = store.path_of(task.name), "use another --out folder, or --overwrite."
    if sidecar.fingerprint != manifest.fingerprint:
        raise ValueError(f"{path} was packed with other settings: {remedy}")
    if sidecar.inputs != task.inputs:
        raise ValueError(f"{path} was packed from another {task.source.shard} than the one given now: {remedy}")
    return True


def _inputs(sidecar: Sidecar) -> str:
    """Return the digest of the files of a token shard, which its sidecar has hashed."""
    return digest([[file.name, file.size, file.sha256] for file in sidecar.files])
