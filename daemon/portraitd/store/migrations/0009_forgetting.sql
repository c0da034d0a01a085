-- What was forgotten at somebody's word, so that it is not taken up again. Only keyed hashes:
-- whoever reads them without the content itself learns nothing.
create table tombstone_keys (
    id integer primary key,
    key blob not null unique
) strict;

create table tombstones (
    digest blob not null,
    kind text not null check (kind in ('content', 'face', 'moment', 'person')),
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

-- What names of files in training sets and among kept frames begin with, likewise.
create table erased_pictures (
    forgetting_id integer not null references forgettings (id),
    stem text not null,
    primary key (forgetting_id, stem)
) strict, without rowid;

-- Holds a row within the transaction that forgets somebody, and at no other time. What is only
-- ever added to says who was where, so forgetting must reach it; nothing else may.
create table being_forgotten (id integer primary key) strict;

drop trigger ledger_stays;
create trigger ledger_stays before update on ledger
    when not exists (select 1 from being_forgotten)
    begin select raise(abort, 'the ledger is append-only'); end;
drop trigger face_keys_are_kept;
create trigger face_keys_are_kept before delete on face_keys
    when not exists (select 1 from being_forgotten)
    begin select raise(abort, 'the ledger is append-only'); end;
drop trigger ledger_faces_are_kept;
create trigger ledger_faces_are_kept before delete on ledger_faces
    when not exists (select 1 from being_forgotten)
    begin select raise(abort, 'the ledger is append-only'); end;
drop trigger class_holders_keep;
create trigger class_holders_keep before update on class_holders
    when not exists (select 1 from being_forgotten)
    begin select raise(abort, 'what a class stood for never changes'); end;
