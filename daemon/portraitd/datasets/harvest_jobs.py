"""The jobs of a harvest: what the card of a person lacks, and which frames of a slice fill it."""

from __future__ import annotations

import time

from portraitd.datasets.harvest_requests import SearchRequest, SearchResult, Survey, SurveyRequest
from portraitd.ingest.media_jobs import EncodeOptions
from portraitd.model.errors import ConfigError
from portraitd.model.face import SliceFaces
from portraitd.model.media_file import Slice
from portraitd.store.database import Database
from portraitd.store.dataset_store import DatasetStore
from portraitd.store.files import Files
from portraitd.workers.job_results import returns


@returns("portraitd.datasets.dataset_results:SURVEY")
def survey_person(request: SurveyRequest) -> Survey:
    """Return the coverage card of a person. Runs in a worker.

    Raises:
        ConfigError: The person is not in the set.
        StoreError: The store cannot be read.
    """
    from portraitd.datasets.coverage import count_cells
    from portraitd.datasets.face_light import measure_face
    from portraitd.datasets.planner import read_set_faces

    with Database.open_to_read(request.state_dir) as database:
        store = DatasetStore(database, Files(database, request.inbox_dir))
        found = read_set_faces(store, request.rule)
        if request.person_id not in found.classes:
            raise ConfigError("the training set does not contain this person")
        distinct = [
            face
            for faces in found.set_faces.values()
            for face in faces
            if face.person_id == request.person_id and face.id in found.distinct
        ]
        measured = [
            measure_face(store, face, found.recordings[face.video_id].year)
            for face in distinct
            if found.splits.split_of(face) is not None
        ]
    return Survey(count_cells(measured), tuple(face.id for face in distinct))


@returns("portraitd.datasets.dataset_results:FOUND")
def search_frames(
    video_slice: Slice, settings: EncodeOptions, request: SearchRequest
) -> SearchResult:
    """Return all faces of the frames that have a wanted face. Runs in a worker.

    Raises:
        VideoError: The content is at fault, or changed while it was read.
    """
    from portraitd.datasets.harvest_search import FrameSearch

    began = time.monotonic()
    search = FrameSearch(video_slice, settings, request)
    detections = [detection for frame in search for detection in frame]
    count = search.searched
    faces = SliceFaces(detections, count, count, None, time.monotonic() - began, search.kept)
    return SearchResult(faces, search.lights)
