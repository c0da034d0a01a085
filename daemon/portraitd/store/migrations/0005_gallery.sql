-- Who is seen where and when, without touching the rows that hold the embeddings.
create index faces_by_appearance on faces (person_id, video_id, t_s, track_id);

-- What the gallery below the people tree has shown, one row for each time that faces came into
-- sight: the last row is what it shows now, the one before it is what "new" is counted from.
create table showings (
    id integer primary key,
    published_at real not null,         -- of the publication it shows
    look text not null,
    last_id integer not null,           -- newest face or track the census in force knew
    shown_at real not null
) strict;

-- What people may look at: nothing that was excluded or ignored, and of a video that is looked at
-- again what it showed before, until all of it is there.
create view visible_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and faces.hidden = 0;
