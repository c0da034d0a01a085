"""What workers load before they are sealed: afterwards a media worker cannot load a library.

No part of a file can become machine code that way, not even of one that is a library. So what a job
imports in some case only is imported here in every case.
"""

from __future__ import annotations

from importlib import import_module

from portraitd.faces.interface import EncoderSpec
from portraitd.ingest import media_jobs
from portraitd.people.questions import question_picture
from portraitd.workers.sandbox.compiled_modules import import_available, list_compiled

_DECODERS = (
    "cv2", "pi_heif", "PIL.AvifImagePlugin", "PIL.WebPImagePlugin", "PIL._imaging",
    "PIL._imagingft", "PIL._imagingmath", "PIL._imagingmorph",
)  # fmt: skip

_JOBS = (
    "portraitd.datasets.cropping",
    "portraitd.datasets.dataset_results",
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
)

_INSPECTION = ("google.protobuf.message", "onnx", "portraitd.faces.dlib_comparison")


def load_to_decode(encoder: EncoderSpec | None) -> None:
    """Load what jobs need that read untrusted files, and the models if an encoder is given."""
    import_available((*_DECODERS, *list_compiled("av")))
    for name in _JOBS:
        import_module(name)
    question_picture.warm_up()
    if encoder is not None:
        media_jobs.warm_up(encoder)


def load_to_inspect() -> None:
    """Load what inspects a model that a user brings."""
    from portraitd.faces.runtime import import_onnxruntime

    import_onnxruntime()
    import_available(list_compiled("onnx"))
    for name in _INSPECTION:
        import_module(name)
