-- Faces whose boxes a person drew, because the detector missed them or put its box elsewhere. The
-- ledger names them by fingerprint, in the role 'drawn'; a face in the role 'replaced' is hidden
-- while the drawn one is in the store (hidden = 4).
alter table faces add column is_drawn integer not null default 0;
alter table ledger_faces add column replaced_by integer;    -- the fingerprint drawn in its place
create index drawn_ledger_faces on ledger_faces (fingerprint_id) where role = 'drawn';
create index drawn_faces_by_video on faces (video_id, t_s) where is_drawn;

drop view current_faces;
drop view grouped_faces;

-- Faces of recordings that are not being replaced, without references and replaced boxes.
create view current_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and not videos.is_reference and faces.hidden <> 4;
-- Current faces that take part in grouping.
create view grouped_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and not videos.frozen and faces.hidden not in (1, 4)
        and not (videos.is_reference and faces.person_id is null);
