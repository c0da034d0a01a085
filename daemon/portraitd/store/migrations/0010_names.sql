-- One vocabulary: tables, columns and views carry the names that the code uses.
drop view faces_in_force;
drop view tracks_in_force;
drop view standing_faces;
drop view visible_faces;

drop trigger ledger_faces_stay;
drop trigger ledger_faces_are_kept;
drop trigger face_keys_stay;
drop trigger face_keys_are_kept;
drop trigger ledger_stays;
drop trigger class_holders_keep;

alter table censuses rename to grouping_runs;
alter table grouping_runs rename column memory to snapshot;
update grouping_runs set snapshot = '';     -- the arrays of that file have other names now
alter table publications rename column census_id to grouping_run_id;
alter table publications rename column look to render_version;

alter table jobs rename to slices;
alter table faces rename column job_id to slice_id;
drop index faces_in_sight;
create index ranked_faces_by_person on faces (person_id, id) where rank is not null;
drop index jobs_by_state;
drop index jobs_by_video;
drop index jobs_waiting;
create index slices_by_state on slices (state, id);
create index slices_by_video on slices (video_id);
create index slices_waiting on slices (state, priority, video_id, id);

alter table apart rename to cannot_link;
drop index apart_by_higher;
create index cannot_link_by_higher on cannot_link (higher_id);
alter table tracks rename column goodness to quality;
alter table tracks rename column spread to variance;
alter table close_people rename to merge_candidates;

alter table face_keys rename to face_fingerprints;
alter table key_faces rename to fingerprint_matches;
alter table fingerprint_matches rename column key_id to fingerprint_id;
alter table ledger_faces rename column key_id to fingerprint_id;
alter table ledger_faces rename column whole to whole_track;
drop index ledger_faces_by_key;
create index ledger_faces_by_fingerprint on ledger_faces (fingerprint_id);
update ledger_faces set role = 'exemplar' where role = 'anchor';
update ledger_faces set role = 'cannot-link' where role = 'against';

alter table shown rename to published_faces;
alter table published_faces rename column place to placement;   -- a person, 0 _unsorted, -1 _ignored
alter table showings rename to gallery_versions;
alter table gallery_versions rename column look to render_version;
alter table gallery_versions rename column shown_at to written_at;

alter table troubles rename to blocked_stages;
alter table blocked_stages rename column room to stage;
alter table beginnings rename to partial_copies;
drop index beginnings_by_video;
create index partial_copies_by_video on partial_copies (video_id);
alter table crew rename to remote_workers;
alter table remote_workers rename column sends to receives_files;

alter table erasures rename to erased_portraits;
alter table forgettings rename to erasures;
alter table erased_portraits rename column forgetting_id to erasure_id;
alter table erased_pictures rename column forgetting_id to erasure_id;
alter table being_forgotten rename to erasure_in_progress;

create trigger ledger_stays before update on ledger
    when not exists (select 1 from erasure_in_progress)
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger face_fingerprints_stay before update on face_fingerprints
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger face_fingerprints_are_kept before delete on face_fingerprints
    when not exists (select 1 from erasure_in_progress)
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger ledger_faces_stay before update on ledger_faces
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger ledger_faces_are_kept before delete on ledger_faces
    when not exists (select 1 from erasure_in_progress)
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger class_holders_keep before update on class_holders
    when not exists (select 1 from erasure_in_progress)
    begin select raise(abort, 'what a class stood for never changes'); end;

-- Faces of videos that are not being replaced.
create view current_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null;
-- Current faces and tracks that take part in grouping.
create view grouped_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and not videos.frozen and faces.hidden <> 1;
create view grouped_tracks as
    select tracks.* from tracks join videos on videos.id = tracks.video_id
    where videos.replaces is null and not videos.frozen;
-- Current faces that may be shown.
create view visible_faces as
    select faces.* from faces join videos on videos.id = faces.video_id
    where videos.replaces is null and faces.hidden = 0;
