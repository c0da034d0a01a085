"""The people folder as a reconciler: observed state, desired state, plan, publish.

How one folder rename travels from the disk to the ledger and back:

1.  ``scan`` lists the folders; ``ownership`` finds by its manifest whose the renamed one is.
    The result is a ``TreeSnapshot`` of ``FolderState`` values.
2.  ``diff`` compares the snapshot with the last published ``manifest`` and with what the
    database has recorded, and detects the edit ``NamePerson``.
3.  ``people_tree`` hands the edit to ``people.review``; when two readings agree, the store
    records it as a ledger entry. ``acknowledged`` remembers which edits were read.
4.  ``people.publisher`` notices the new ledger entry. ``desired`` and ``desired_files`` say
    what each folder should hold (``DesiredFolder``), the label now being the new name.
5.  ``plan`` compares desired and observed folders and gives steps; here it accepts the name.
6.  ``publish`` runs the plan with ``plan_executor``, which writes files and the manifest
    through ``published_folder``, the mechanism that pages and training sets share.

``tree_erasure`` removes erased faces, ``audit`` finds damage, ``locations`` serves the gallery.
"""
