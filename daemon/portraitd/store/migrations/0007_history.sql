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

alter table videos add column content_size integer not null default 0;  -- bytes; 0 if not known
update videos set content_size =
    coalesce((select max(size) from files where files.video_id = videos.id), 0);
create index videos_by_size on videos (content_size);

-- Contents that turned out to be the beginning of a video, copies that were broken off, and what
-- the video was before its whole came.
create table beginnings (
    sha256 text primary key,
    video_id integer not null references videos (id) on delete cascade,
    content_size integer not null,
    duration_s real not null,
    fps real not null,
    reason text not null
) strict, without rowid;
create index beginnings_by_video on beginnings (video_id);
