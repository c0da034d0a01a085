-- The classes of training sets. A number, once given, is never given to anybody else, so both
-- tables only grow.
create table classes (
    id integer primary key check (id >= 0),
    kind text not null check (kind in ('person', 'unknown')),
    created_at real not null
) strict;

-- Whom a class stands for and what it is called; the newest row of a class holds. No reference
-- to people: a class outlives the person's row.
create table class_holders (
    id integer primary key autoincrement,
    class_id integer not null references classes (id),
    person_id integer,                  -- null for the class of unknown faces
    name text not null,
    since real not null
) strict;
create index class_holders_by_class on class_holders (class_id, id);

-- On which side of a training set a recording lies, a stretch or a track of it, by its content.
create table splits (
    key text primary key,
    split text not null,
    since real not null
) strict, without rowid;

create trigger classes_stay before delete on classes begin
    select raise(abort, 'classes are never removed');
end;
create trigger classes_keep_their_number before update on classes begin
    select raise(abort, 'classes never change');
end;
create trigger class_holders_stay before delete on class_holders begin
    select raise(abort, 'what a class stood for is never removed');
end;
create trigger class_holders_keep before update on class_holders begin
    select raise(abort, 'what a class stood for never changes');
end;

-- Of a video that is looked at again, what was found before, until all of it is there.
create view standing_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null;
