-- A picture of the reviewer's own in a person's folder says who the person is. It is read like a
-- photo of the inbox, as a recording of its own: it is grouped while an edit says whose face it
-- shows, and it is never shown or trained on.
alter table files add column is_reference integer not null default 0;
alter table videos add column is_reference integer not null default 0;
create index files_of_references on files (id) where is_reference;
create index videos_of_references on videos (id) where is_reference;

drop view current_faces;
drop view grouped_faces;
drop view grouped_tracks;

-- Faces of recordings that are not being replaced, without references.
create view current_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and not videos.is_reference;
-- Current faces and tracks that take part in grouping.
create view grouped_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and not videos.frozen and faces.hidden <> 1
        and not (videos.is_reference and faces.person_id is null);
create view grouped_tracks as
    select tracks.* from tracks join videos on videos.id = tracks.video_id
    where videos.replaces is null and not videos.frozen
        and (not videos.is_reference or exists
            (select 1 from faces where faces.track_id = tracks.id and person_id is not null));
