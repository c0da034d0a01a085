"""Corrected boxes come back: what a person drew and labelled in another program becomes edits.

::

    annotation_file        a file or zip archive of another program, within limits
    cvat_reading           CVAT for images and for video 1.1
    coco_reading           COCO instances
    imported_boxes         what they say, as values
    box_matching           the boxes of a frame and the faces of that frame; no database
    import_plan            recordings, frames and people; what is to be recorded, and what does
                           not match
"""
