"""Tell a file that is not for portraitd from a photo or video that cannot be processed.

Subtitles, notes and archives are dropped together with videos. The content decides first: a video
is processed under any name. Only what was refused is looked up here by its suffix.
"""

from __future__ import annotations

from pathlib import Path

from portraitd.model.media_file import FileState
from portraitd.model.reasons import INCOMPLETE, Reason, ReasonCode

_COMPANIONS = """
srt sub idx ass ssa vtt smi sup lrc nfo txt text md rst log csv tsv json xml yaml yml html htm
mht url webloc lnk desktop ini cfg conf db sqlite sqlite3 xmp pp3 dop aae on1 cos cop theme gpx
kml fit srm zip rar 7z gz tgz bz2 xz zst tar cab iso img dmg exe msi apk deb rpm jar sh bat cmd
ps1 py js css pdf doc docx xls xlsx ppt pptx odt ods odp rtf epub mobi djvu ps eps svg ai ttf
otf mp3 m4a m4b aac wav flac ogg oga opus wma mid midi aif aiff amr ape mka caf torrent nzb sfv
md5 sha1 sha256 sha512 par2 m3u m3u8 pls cue xspf eml msg ics vcf sql bak old
"""

COMPANION_SUFFIXES = frozenset(_COMPANIONS.split())
"""Suffixes of files that often accompany photos and videos, in lower case."""

_MEDIA = """
mp4 m4v mov qt mkv mk3d webm avi divx wmv asf flv f4v mpg mpeg mpe m2v m2p mts m2ts ts vob mod
tod 3gp 3g2 mxf ogv ogm dv y4m nut ivf h264 264 avc hevc 265 h265 mjpeg mjpg rm rmvb swf gxf vc1
obu lrv insv 360 braw r3d jpg jpeg jpe jfif thm png apng gif bmp dib tif tiff webp heic heif hif
avif jp2 j2k jpx jpf jxl psd pnm pgm ppm pbm exr dpx hdr dng nef nrw cr2 cr3 crw arw srf sr2 raf
orf rw2 pef srw x3f iiq 3fr fff mos mef erf kdc dcr mrw raw rwl
"""

MEDIA_SUFFIXES = frozenset(_MEDIA.split())
"""Suffixes of photos and videos: a person who drops one expects faces."""

_OTHER_KINDS = frozenset({
    ReasonCode.TEXT_FILE, ReasonCode.OTHER_FILE_TYPE, ReasonCode.SOUND_ONLY, ReasonCode.PLAYLIST,
})  # fmt: skip

_NOT_MEDIA = _OTHER_KINDS | INCOMPLETE | {ReasonCode.UNKNOWN_FORMAT, ReasonCode.NOT_MEDIA}


def state_of_refused(path: Path, reason: Reason) -> FileState:
    """Return the state of a file whose content was refused: failed, or quietly ignored."""
    suffix = path.suffix[1:].lower()
    is_other = reason.code in _OTHER_KINDS and suffix not in MEDIA_SUFFIXES
    is_companion = reason.code in _NOT_MEDIA and suffix in COMPANION_SUFFIXES
    return FileState.IGNORED if is_other or is_companion else FileState.FAILED
