-- A track is one face followed through a shot; a photo's face is a track of one. The row of a
-- track in the grouping's matrix is its id less one, so ids are never used twice.
create table tracks (
    id integer primary key autoincrement,
    video_id integer not null references videos (id) on delete cascade,
    faces integer not null,
    goodness real not null,             -- of its best face, 0 to 1
    best_face_id integer not null,
    spread real not null,               -- mean squared distance of its faces from their mean
    embedding blob not null             -- their mean: 128 little-endian float32
) strict;
create index tracks_by_video on tracks (video_id);

-- Tracks that were seen in one frame are two people.
create table apart (
    lower_id integer not null references tracks (id) on delete cascade,
    higher_id integer not null references tracks (id) on delete cascade,
    primary key (lower_id, higher_id)
) strict, without rowid;
create index apart_by_higher on apart (higher_id);

alter table faces add column track_id integer references tracks (id) on delete set null;
create index faces_by_track on faces (track_id);

alter table videos add column tracked integer not null default 0;
create index videos_untracked on videos (tracked) where tracked = 0;

alter table people add column locked integer not null default 0;
alter table people add column split_from integer references people (id);

alter table censuses add column tracks integer not null default 0;
alter table censuses add column names_lost integer not null default 0;
alter table censuses add column violations integer not null default 0;  -- one person twice in a frame
alter table censuses add column memory text not null default '';        -- file that the next one goes on from
alter table censuses rename column last_face to last_id;             -- newest face or track it knew

-- People who lie so close that somebody should say whether they are one; of the census in force.
create table close_people (
    lower_id integer not null references people (id),
    higher_id integer not null references people (id),
    distance real not null,
    primary key (lower_id, higher_id)
) strict, without rowid;
