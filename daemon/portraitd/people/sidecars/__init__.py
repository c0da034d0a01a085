"""Sidecars: files beside the recordings of the inbox that name their people for other programs.

``media.xmp_sidecar`` and ``media.nfo`` know the formats, and keep what others wrote.
``sidecar_files`` reads and replaces the files, ``sidecar_stage`` compares what each should say
with what it says, and ``sidecar_erasure`` takes out who was erased. The recordings themselves are
only read: a worker reads size, orientation and XMP of a photo (``photo_tag_jobs``).
"""
