"""What a store is asked to tell whether it is at rest, and whether it is whole."""

from __future__ import annotations

WORK = (
    "select 1 from files where state in ('waiting', 'ready', 'probing', 'encoding')",
    "select 1 from slices where state in ('queued', 'running')",
    "select 1 from videos where tracked = 0",
    "select 1 from erasures where finished_at is null",
    """
    select 1 from grouping_runs where id = (select max(id) from grouping_runs)
        and (tracks > (select count(*) from grouped_tracks)
            or last_id < (select coalesce(max(id), 0) from grouped_tracks)
            or ledger_id < (select coalesce(max(id), 0) from ledger))
    """,
    """
    select 1 where (select max(id) from grouping_runs) is not (
        select grouping_run_id from publications
        where render_version <> '' and ledger_id = (select coalesce(max(id), 0) from ledger))
    """,
    """
    select 1 from publications where finished_at is not
        (select published_at from gallery_versions order by id desc limit 1)
    """,
)
"""Each gives a row while there is something left to do."""

QUESTIONS = {
    "a face twice": """
        select video_id, t_s, box_left, box_top from faces
        group by 1, 2, 3, 4, box_right, box_bottom having count(*) > 1
        """,
    "a content twice": "select sha256 from videos group by 1 having count(*) > 1",
    "a face without a picture": """
        select id from faces where id not in (select face_id from portraits)
        """,
    "a file without a reason": """
        select path from files where state in ('failed', 'duplicate', 'forgotten') and reason = ''
        """,
    "one person twice in a frame": """
        select video_id, t_s, person_id from faces where person_id is not null
        and not exists (select 1 from ledger where kind in ('merge', 'place', 'split', 'undo'))
        group by 1, 2, 3 having count(*) > 1
        """,
}
"""By what is wrong: each gives a row where it is."""
