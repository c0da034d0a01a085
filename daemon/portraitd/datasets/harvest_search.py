"""Searches the frames between sampled ones for faces of a person that a set lacks.

Imports OpenCV, so for workers only: the service refers to it through ``datasets.harvest_jobs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from portraitd.datasets.coverage import MeasuredFace, locate_face
from portraitd.datasets.face_light import measure_light
from portraitd.datasets.harvest_matching import is_sampled, match_frame
from portraitd.datasets.harvest_requests import SearchRequest
from portraitd.datasets.quality_floor import find_fault
from portraitd.faces.crops import crop_portrait
from portraitd.ingest.media_jobs import EncodeOptions, keep_inside, load_encoder
from portraitd.media import video
from portraitd.media.jpeg import TRAINING_QUALITY, encode_jpeg
from portraitd.model.face import DetectedFace, Face, Frame
from portraitd.model.media_file import Slice


class FrameSearch:
    """The frames of a slice that have a wanted face, with all of their faces.

    Attributes:
        searched: Number of frames that were searched.
        kept: Time and JPEG of each frame that was found.
        lights: How bright the wanted face is, by the time of its frame.
    """

    def __init__(self, video_slice: Slice, settings: EncodeOptions, request: SearchRequest) -> None:
        self._slice = video_slice
        self._settings = settings
        self._request = request
        self._left = dict(request.limits)
        known = request.known
        self._vectors = list(known.embeddings[known.persons == request.person_id])
        self.searched = 0
        self.kept: list[tuple[float, bytes]] = []
        self.lights: dict[float, float] = {}

    def __iter__(self) -> Iterator[list[DetectedFace]]:
        """Search until nothing is wanted any more.

        Raises:
            VideoError: No frame can be decoded, or the file changed while it was read.
        """
        request, encoder = self._request, load_encoder(self._settings.encoder)
        frames = video.SampledFrames(
            self._slice.source,
            self._slice.kind,
            self._slice.start_s,
            self._slice.stop_s,
            request.fps,
            within=request.stretches,
        )
        for frame in frames:
            if not any(self._left.values()):
                return
            if is_sampled(request.known, frame.t_s):
                continue
            self.searched += 1
            faces = keep_inside(encoder.encode([frame.image])[0], frame.image)
            if self._is_wanted(frame, faces):
                if self._settings.keeps_frames:
                    self.kept.append((frame.t_s, encode_jpeg(frame.image, TRAINING_QUALITY)))
                yield [
                    DetectedFace(
                        frame.t_s,
                        face,
                        crop_portrait(frame.image, face.box, self._settings.portrait_width_px),
                    )
                    for face in faces
                ]

    def _is_wanted(self, frame: Frame, faces: Sequence[Face]) -> bool:
        """Return whether a frame has a wanted face, which is counted then."""
        request, known = self._request, self._request.known
        matched = match_frame(frame.t_s, faces, known, request.rules)
        if matched is None:
            return False
        own = [
            face
            for face, beside in zip(faces, matched, strict=True)
            if known.persons[beside] == request.person_id and known.hidden[beside] == 0
        ]
        if len(own) != 1 or find_fault(own[0].quality, request.rule):
            return False
        [face] = own
        light = measure_light(frame.image, face.box)
        cells = locate_face(MeasuredFace.of(face, light, request.year))
        if not any(self._left.get(cell, 0) > 0 for cell in cells):
            return False
        gaps = np.linalg.norm(np.array(self._vectors) - face.embedding, axis=1)
        if gaps.min() <= request.near_duplicate:
            return False
        self._vectors.append(face.embedding)
        for cell in cells & self._left.keys():
            self._left[cell] -= 1
        if light is not None:
            self.lights[frame.t_s] = light
        return True
