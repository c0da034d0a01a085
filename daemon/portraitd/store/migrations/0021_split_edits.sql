-- What the user decided about the splits of training sets; the newest row of a recording holds. It
-- only grows, except for erasure: a row names a recording by the hash of its content.
create table split_edits (
    id integer primary key autoincrement,
    kind text not null check (kind in ('move', 'rebuild')),
    key text not null,              -- of the whole recording, as in splits; empty for a rebuild
    split text not null,            -- empty: as assigned
    made_at real not null
) strict;
