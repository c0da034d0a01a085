-- Slices wait by priority, then by video: each claim is a few steps in an index, however many wait.
alter table jobs add column priority integer not null default 0;
create index jobs_waiting on jobs (state, priority, video_id, id);

-- The workers on other machines, as the running service sees them; for `status` alone.
create table crew (
    address text primary key,
    host text not null,
    state text not null,                -- asked, accepted, refused
    reason text not null,
    processes integer not null,
    slices_out integer not null,
    slices_done integer not null,
    footage_s real not null,            -- seconds of footage it has been through
    work_s real not null,               -- and the time its processes took for that
    sends integer not null              -- whether files are sent to it
) strict, without rowid;

create table cluster (
    id integer primary key check (id = 1),
    address text not null,
    dashboard text not null,
    reached integer not null,           -- whether the scheduler answers
    seen_at real not null
) strict;
