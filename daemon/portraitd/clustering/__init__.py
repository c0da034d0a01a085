"""Faces to tracks to people: pure functions on arrays, and the two stages that run them.

``tracking_stage`` submits each finished video to ``track_building``; ``grouping_stage`` submits all
tracks to a ``grouping_methods`` class. Both run as ``grouping_jobs`` in a worker. A grouping is::

    ledger_constraints   user edits become pinned tracks, seeds, cannot-links and exclusions
    dbscan               clusters of good tracks: certainly one person   (dbscan_removal)
    seeding              the clusters that people claim through seeds
    must_link_groups     what linkage starts from and never splits       (cannot_link_split)
    agglomeration        constrained average linkage, from those groups to people
                         (average_linkage, incremental_linkage, linkage_reuse, running_sums)
    assignment           low-quality tracks go to the people that good tracks founded
    tight_neighbourhoods people whom the model cannot tell apart are kept apart
    identity             which known person each group continues
    merge_candidates     pairs of people that a user should compare

Literature: DBSCAN (Ester et al., 1996), incremental DBSCAN (Ester et al., 1998), average linkage
or UPGMA (Sokal and Michener, 1958) by mutual nearest neighbours (Murtagh, 1983), must-link and
cannot-link constraints (Wagstaff and Cardie, 2000), seeding (Basu et al., 2002).

DBSCAN and linkage are incremental: ``GroupingState`` keeps their results, ``grouping_snapshot``
saves them, and a grouping redoes only what new or removed tracks affect. The result is that of a
run from scratch, which takes 0.7 times as long at 2,000 tracks, 3 times at 10,000 and 14 times at
30,000 (14.9 s instead of 1.1 s): the price of one more video then no longer grows with the store.
"""
