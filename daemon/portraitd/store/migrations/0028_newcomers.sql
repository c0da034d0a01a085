-- Tracks without a person that probably show someone new, as the last grouping found: by group.
create table newcomers (
    track_id integer primary key references tracks (id) on delete cascade,
    group_id integer not null
) strict;
