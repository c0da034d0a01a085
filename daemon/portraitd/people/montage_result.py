"""What ``draw_montage`` may return: one picture of the size of its tiles."""

from __future__ import annotations

from collections.abc import Sequence

from portraitd.media.jpeg_structure import check_jpeg
from portraitd.people.montage import MONTAGE_COLUMNS, MONTAGE_ROWS, TILE_PX, compute_grid
from portraitd.workers.result_codec import ResultSchema, pack_plain


def _unpack_montage(
    jpeg: bytes,
    jpegs: Sequence[bytes],
    columns: int = MONTAGE_COLUMNS,
    rows: int = MONTAGE_ROWS,
    tile: tuple[int, int] = TILE_PX,
) -> bytes:
    columns, rows = compute_grid(len(jpegs), columns, rows)
    size_px = (columns * tile[0], rows * tile[1])
    if check_jpeg(jpeg, *size_px) != size_px:
        raise ValueError("a montage of another size")
    return jpeg


MONTAGE = ResultSchema(bytes, pack_plain, _unpack_montage, max_bytes=1 << 26)
