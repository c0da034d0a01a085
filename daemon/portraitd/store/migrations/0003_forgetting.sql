-- What was forgotten at somebody's word, so that it is not taken up again. Only keyed hashes:
-- whoever reads them without the content itself learns nothing.
create table tombstone_keys (
    id integer primary key,
    key blob not null unique
) strict;

create table tombstones (
    digest blob not null,
    kind text not null check (kind in ('content', 'face')),
    key_id integer not null references tombstone_keys (id),
    at real not null,
    primary key (digest, kind)
) strict, without rowid;

-- One row each time; unfinished until nothing is left anywhere. No names, no paths.
create table forgettings (
    id integer primary key autoincrement,
    what text not null,
    faces integer not null,
    videos integer not null,
    people integer not null,
    at real not null,
    finished_at real
) strict;

-- What may still lie in the people tree, until it was looked for there.
create table erasures (
    forgetting_id integer not null references forgettings (id),
    face_id integer not null,
    ending blob not null,               -- SHA-256 of the last bytes of the portrait's file
    primary key (forgetting_id, face_id)
) strict, without rowid;
