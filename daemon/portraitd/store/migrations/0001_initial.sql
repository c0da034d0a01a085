-- What lies in the inbox (or was named to `process`). Paths are bytes, as the file system has them.
create table files (
    id integer primary key,
    root blob not null,                 -- folder given to `process`; empty for the inbox
    path blob not null,                 -- below the root
    size integer not null,
    mtime_ns integer not null,
    inode integer not null,
    state text not null,
    reason text not null default '',
    attempts integer not null default 0,
    video_id integer references videos (id) on delete set null,
    seen_at real not null,
    changed_at real not null,
    unique (root, path)
) strict;
create index files_by_state on files (state, id);
create index files_by_video on files (video_id);

-- A content that was seen at least once, whatever its names.
create table videos (
    id integer primary key autoincrement,
    sha256 text not null unique,
    kind text not null,
    duration_s real not null,           -- as declared; infinite where it cannot be believed
    fps real not null,
    width_px integer not null,
    height_px integer not null,
    state text not null,
    reason text not null default '',
    added_at real not null,
    finished_at real
) strict;

-- One row per slice of a video: the unit of work.
create table jobs (
    id integer primary key autoincrement,  -- a late answer must not hit another slice
    video_id integer not null references videos (id) on delete cascade,
    start_s real not null,
    stop_s real not null,
    state text not null,
    attempts integer not null default 0,
    reason text not null default '',
    sampled integer not null default 0,
    decoded integer not null default 0,
    ended_s real,                       -- timestamp of the last frame read
    seconds real not null default 0,
    finished_at real
) strict;
create index jobs_by_state on jobs (state, id);
create index jobs_by_video on jobs (video_id);

create table faces (
    id integer primary key autoincrement,
    video_id integer not null references videos (id) on delete cascade,
    job_id integer not null references jobs (id) on delete cascade,
    t_s real not null,
    box_left integer not null,          -- pixels of the full-size upright frame
    box_top integer not null,
    box_right integer not null,
    box_bottom integer not null,
    score real not null,
    landmarks blob,                     -- ten little-endian float32: five points (x, y), or null
    size_px real not null,
    sharpness real not null,
    frontal real not null,
    encoder text not null,              -- the space the embedding lives in
    embedding blob not null,            -- 128 little-endian float32
    person_id integer references people (id),
    added_at real not null
) strict;
create index faces_by_video on faces (video_id, t_s);
create index faces_by_person on faces (person_id, id);

create table portraits (
    face_id integer primary key references faces (id) on delete cascade,
    area_left integer not null,         -- the part of the frame that the picture shows
    area_top integer not null,
    area_right integer not null,
    area_bottom integer not null,
    jpeg blob not null
) strict;

create table people (
    id integer primary key autoincrement,
    name text,
    created_at real not null,
    merged_into integer references people (id)
) strict;

create table censuses (
    id integer primary key autoincrement,
    parameters text not null,           -- what it was grouped with
    last_face integer not null,         -- the newest face it knew
    faces integer not null,
    people integer not null,
    unassigned integer not null,
    churn integer not null,             -- faces that went from one person to another
    seconds real not null,
    finished_at real not null
) strict;

-- What this people tree was last made from; compared, never set as a flag.
create table publications (
    id integer primary key check (id = 1),
    census_id integer not null,
    look text not null,
    finished_at real not null
) strict;
