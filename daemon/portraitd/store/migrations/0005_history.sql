-- What became of a file, step by step; the newest fifty steps of each.
create table file_steps (
    id integer primary key,
    file_id integer not null references files (id) on delete cascade,
    state text not null,
    reason text not null,
    size integer not null,
    at real not null
) strict;
create index file_steps_by_file on file_steps (file_id, id);

create trigger file_was_seen after insert on files
begin
    insert into file_steps (file_id, state, reason, size, at)
    values (new.id, new.state, new.reason, new.size, new.changed_at);
end;

create trigger file_went_on after update on files
when old.state is not new.state or old.reason is not new.reason or old.size is not new.size
begin
    insert into file_steps (file_id, state, reason, size, at)
    values (new.id, new.state, new.reason, new.size, new.changed_at);
    delete from file_steps where file_id = new.id and id not in
        (select id from file_steps where file_id = new.id order by id desc limit 50);
end;

-- Contents that turned out to be the beginning of a video: copies that were broken off.
create table beginnings (
    sha256 text primary key,
    video_id integer not null references videos (id) on delete cascade
) strict, without rowid;
