-- Faces of frames that were searched in addition, to fill the coverage card of a person. When a video
-- is reprocessed, these frames are searched again.
alter table faces add column harvested integer not null default 0;
create index faces_harvested on faces (video_id, t_s) where harvested;

-- People for whom frames are still to be searched.
create table harvests (
    person_id integer primary key references people (id) on delete cascade,
    asked_at real not null
) strict;
