"""Pictures with captions, to fine-tune a generator of images."""

from __future__ import annotations

import json
from collections.abc import Callable

from portraitd.datasets.annotations import Plan, PlannedCrop
from portraitd.datasets.content import SetFiles, TextFile, join_lines
from portraitd.datasets.formats.imagefolder import make_portrait


def make_caption_files(plan: Plan, make: Callable[[PlannedCrop], bytes]) -> SetFiles:
    """Yield portraits, each with a caption beside it, and ``metadata.jsonl`` for all of a split.

    Trainers read either the text files or the list, as the ``imagefolder`` of Hugging Face does.
    """
    for split in plan.splits:
        lines = []
        for crop in plan.crops:
            if crop.split != split:
                continue
            label = plan.classes[crop.class_id].label
            caption, place = f"a photo of {label}", f"{label}/{crop.stem}"
            yield f"captions/{split}/{place}.txt", TextFile(f"{caption}\n")
            yield f"captions/{split}/{place}.jpg", make_portrait(crop, make)
            lines.append(
                json.dumps({"file_name": f"{place}.jpg", "text": caption}, ensure_ascii=False)
            )
        if lines:
            yield f"captions/{split}/metadata.jsonl", TextFile(join_lines(sorted(lines)))
