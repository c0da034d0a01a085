-- So that a people tree knows whose it is.
create table store_name (name text not null) strict;
insert into store_name values (lower(hex(randomblob(16))));

-- What people did in the tree. Rows are added, never changed: an undo is a row too.
create table ledger (
    id integer primary key autoincrement,
    at real not null,
    kind text not null,
    person_id integer references people (id),   -- whom it is about, or whose the faces are now
    into_id integer references people (id),     -- of a merge: who remains
    name text,
    undoes integer references ledger (id)
) strict;

-- A face by what it is, so that it is found again whatever encoder or sampling found it.
create table face_keys (
    id integer primary key,
    sha256 text not null,
    t_s real not null,
    box_left integer not null,
    box_top integer not null,
    box_right integer not null,
    box_bottom integer not null,
    step_s real not null,                       -- seconds between samples when it was noted
    unique (sha256, t_s, box_left, box_top, box_right, box_bottom)
) strict;

create table ledger_faces (
    ledger_id integer not null references ledger (id),
    key_id integer not null references face_keys (id),
    role text not null,                         -- moved, anchor, against or member
    person_id integer,                          -- whose it was (moved, member) or is (the others)
    whole integer not null default 1,           -- whether it stands for its track
    primary key (ledger_id, key_id, role)
) strict, without rowid;
create index ledger_faces_by_key on ledger_faces (key_id);

create trigger ledger_stays before update on ledger
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger ledger_is_kept before delete on ledger
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger face_keys_stay before update on face_keys
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger face_keys_are_kept before delete on face_keys
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger ledger_faces_stay before update on ledger_faces
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger ledger_faces_are_kept before delete on ledger_faces
    begin select raise(abort, 'the ledger is append-only'); end;

-- Which face each key means today. Derived: made anew whenever a video gets its tracks.
create table key_faces (
    key_id integer primary key references face_keys (id),
    face_id integer not null unique references faces (id) on delete cascade
) strict;

alter table faces add column hidden integer not null default 0;    -- 1 excluded, 2 ignored
alter table faces add column rank integer;      -- among the portraits that stand for its track
update faces set rank = 0 where id in (select best_face_id from tracks);
create index faces_in_sight on faces (person_id, id) where rank is not null;

alter table people add column ignored integer not null default 0;

alter table publications add column ledger_id integer not null default 0;

alter table censuses add column ledger_id integer not null default 0;  -- the newest row it knew
alter table censuses add column forced integer not null default 0;  -- twice in a frame by somebody's word

-- Where each portrait lies in the tree, as far as is known.
create table shown (
    face_id integer primary key references faces (id) on delete cascade,
    place integer not null                      -- a person's id, 0 for _unsorted, -1 for _ignored
) strict;

-- What stands in the way of a room until somebody acts; empty when all is well.
create table troubles (
    room text primary key,
    reason text not null,
    since real not null
) strict;

-- A video that is looked at again stands beside the one it will replace, until all are there.
alter table videos add column replaces integer references videos (id) on delete cascade;
-- Could not be looked at again: its people stay as they are, and it takes no part in a census.
alter table videos add column frozen integer not null default 0;

-- What a census counts.
create view faces_in_force as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and not videos.frozen and faces.hidden <> 1;
create view tracks_in_force as
    select tracks.* from tracks join videos on videos.id = tracks.video_id
    where videos.replaces is null and not videos.frozen;
