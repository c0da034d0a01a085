-- When a recording was made, as the file says: seconds since 1970, and the offset from UTC in
-- minutes. Without an offset it is a local time, stored as though it were UTC.
alter table videos add column recorded_at real;
alter table videos add column recorded_offset_min integer;

-- Hash of the coded pictures without metadata; empty where it is not known yet.
alter table videos add column picture_hash text not null default '';
create index videos_by_picture_hash on videos (picture_hash);
alter table partial_copies add column picture_hash text not null default '';

-- When the name or the date of a recording changed; pages show them.
alter table videos add column described_at real not null default 0;
create index videos_by_description on videos (described_at);

-- The content of this file: tags may have been written into it since videos.sha256 was read.
alter table files add column content_sha256 text not null default '';
-- The recording that this path held before it was written to.
alter table files add column earlier_video_id integer references videos (id) on delete set null;
create index files_by_content on files (content_sha256);
create index files_by_earlier_video on files (earlier_video_id);
