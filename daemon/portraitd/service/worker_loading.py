"""What workers load before they are sealed: afterwards they cannot load a library.

No part of a file can become machine code that way, not even of one that is a library. So what a job
imports in some case only is imported here in every case. Media workers can still read modules in
Python, since the models have many; the others read nothing of the libraries any more.
"""

from __future__ import annotations

from importlib import import_module

from portraitd.clustering import grouping_jobs
from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.people.questions import question_picture
from portraitd.store.database import newest_schema
from portraitd.workers.sandbox.compiled_modules import import_available, list_compiled

_DECODERS = (
    "cv2", "pi_heif", "PIL.AvifImagePlugin", "PIL.WebPImagePlugin", "PIL._imaging",
    "PIL._imagingft", "PIL._imagingmath", "PIL._imagingmorph",
)  # fmt: skip

_MEDIA_JOBS = (
    "portraitd.datasets.cropping",
    "portraitd.datasets.dataset_results",
    "portraitd.datasets.harvest_search",
    "portraitd.faces.crops",
    "portraitd.faces.portrait_embedding",
    "portraitd.ingest.media_results",
    "portraitd.media.animation",
    "portraitd.media.content_hash",
    "portraitd.media.photo",
    "portraitd.media.video",
    "portraitd.people.montage",
    "portraitd.people.montage_result",
    "portraitd.people.questions.question_picture_result",
    "portraitd.people.sidecars.photo_tag_results",
)

_HASHING = (
    "portraitd.faces.models.model_registry",
    "portraitd.ingest.media_results",
    "portraitd.media.content_hash",
)

_PLANNING = ("portraitd.datasets.dataset_results", "portraitd.datasets.planner")

_ASSEMBLY = (
    "cv2",
    # NumPy imports it when it is asked for distinct values.
    "numpy.ma",
    "portraitd.datasets.contact_sheet",
    "portraitd.datasets.dataset_results",
    "portraitd.datasets.face_light",
    "portraitd.datasets.planner",
    "portraitd.datasets.writer",
)

_INSPECTION = ("google.protobuf.message", "onnx", "portraitd.faces.dlib_comparison")


def load_to_decode(encoder: EncoderSpec | None) -> None:
    """Load what jobs need that read untrusted files, and the models if an encoder is given."""
    import_available((*_DECODERS, *list_compiled("av")))
    for name in _MEDIA_JOBS:
        import_module(name)
    question_picture.warm_up()
    if encoder is not None:
        media_jobs.warm_up(encoder)


def load_to_hash() -> None:
    """Load what hashes files."""
    for name in _HASHING:
        import_module(name)


def load_to_compute(method: str) -> None:
    """Load what tracks and groups, and try it: libraries load parts of themselves when used."""
    import_module("portraitd.clustering.grouping_results")
    grouping_jobs.warm_up(method)


def load_to_plan() -> None:
    """Load what plans training sets."""
    for name in _PLANNING:
        import_module(name)
    newest_schema()


def load_to_assemble() -> None:
    """Load what writes training sets."""
    for name in _ASSEMBLY:
        import_module(name)
    newest_schema()


def load_to_inspect() -> None:
    """Load what inspects a model that a user brings."""
    from portraitd.faces.runtime import import_onnxruntime

    import_onnxruntime()
    import_available(list_compiled("onnx"))
    for name in _INSPECTION:
        import_module(name)
