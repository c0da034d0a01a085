"""Take people who were erased out of the sidecars, before the service writes any again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from portraitd.ingest.mounts import is_folder_of
from portraitd.media.xml_tree import UnmergeableFile
from portraitd.model.sidecar import SidecarKind
from portraitd.people.sidecars.sidecar_content import write_sidecar
from portraitd.people.sidecars.sidecar_files import SidecarFiles
from portraitd.people.sidecars.sidecar_stage import combine_shared
from portraitd.store.database import Database
from portraitd.store.files import Files
from portraitd.store.sidecars import Sidecars


@dataclass(frozen=True, slots=True)
class SidecarErasure:
    """What became of the sidecars that named people who are erased.

    Attributes:
        unavailable: What could not be reached yet, by path, with the reason.
        left: Files that another program wrote since, and that cannot be changed safely.
    """

    unavailable: Mapping[str, str] = field(default_factory=dict)
    left: Sequence[Path] = ()


def erase_from_sidecars(database: Database, inbox_dir: Path) -> SidecarErasure:
    """Take portraitd's part out of every sidecar that says something that is not true any more.

    Those whose recordings show other people are written again by the service.
    """
    sidecars, files = Sidecars(database), SidecarFiles(inbox_dir)
    desired = combine_shared(sidecars.desired(tuple(SidecarKind)))
    outdated = [
        one
        for one in sidecars.written()
        if one.identity and (one.key not in desired or desired[one.key].identity != one.identity)
    ]
    if outdated and not is_folder_of(inbox_dir, Files(database, inbox_dir).read_marker()):
        return SidecarErasure({str(inbox_dir): "not mounted"})
    unavailable, left = {}, []
    for one in outdated:
        try:
            files.update(one.path, partial(write_sidecar, one.kind, None, None))
        except FileNotFoundError:
            # Its folder was removed.
            pass
        except UnmergeableFile:
            left.append(inbox_dir / one.path)
        except OSError as error:
            unavailable[str(inbox_dir / one.path)] = error.strerror or str(error)
            continue
        sidecars.record(replace(one, identity=""))
    return SidecarErasure(unavailable, left)
