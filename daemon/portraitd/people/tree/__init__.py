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

The rules:

*   A difference from the manifest is an edit of a reviewer and is never overwritten. What is as
    desired is not written again. What the store itself changes or undoes is never read as an
    edit, because edits are differences between manifest and tree only.
*   A new folder is built under a hidden name and renamed when it is complete. Writes go through a
    descriptor of the folder, so they follow it when it is renamed meanwhile.
*   Copying a portrait has no effect. A picture next to an original that is in its place is a
    copy, and the manifest of its folder records it from the first reading on. Copies are counted
    by face, whatever the files are called.
*   A publication never covers an edit: a missing portrait is written again only after its absence
    was read (``acknowledged``).
*   A manifest never lists a file that is not there: a file is in place before it is listed, and
    is removed from the list before it is deleted. A crash in between is never read as a deletion.
*   Manifests and folders are synced, portraits are not. After a power failure a portrait may be
    empty; the next start notices and writes it again from the store.
*   When in doubt, nothing is decided: no marker, another store's marker, an unreadable folder, or a
    tree that keeps changing.
*   If more than a fifth of the portraits is missing, these are ``withheld`` until a person says
    whether they were deleted. Until then they give no edits, no publish writes them anywhere, even
    if the grouping has assigned them to other people, and the store keeps where they were. The same
    applies to what was moved out of a missing folder. All other edits take effect.
"""
