-- Each reason has a code beside its sentence. Programs read the code, people read the sentence.
drop trigger file_was_seen;
drop trigger file_went_on;

alter table files add column reason_code text not null default '';
alter table videos add column reason_code text not null default '';
alter table slices add column reason_code text not null default '';
alter table file_steps add column reason_code text not null default '';
alter table partial_copies add column reason_code text not null default '';
alter table blocked_stages add column reason_code text not null default '';

-- The sentences of version 0.1.0, read this once. The first pattern that matches decides; a
-- sentence that matches none is 'other'.
create table old_sentences (id integer primary key, pattern text not null, code text not null);
insert into old_sentences (pattern, code) values
    ('still being written*', 'still_changing'),
    ('another program still has it open*', 'open_for_writing'),
    ('nobody can say here whether*', 'cannot_tell_if_open'),
    ('not whole yet: empty so far*', 'empty'),
    ('not whole yet: space was set aside*', 'preallocated'),
    ('not whole yet: it begins with nothing but zeros*', 'only_zeros'),
    ('not whole yet: its index*', 'index_missing'),
    ('not whole yet: *', 'bytes_missing'),
    ('the file is empty*', 'empty'),
    ('nothing but zeros*', 'only_zeros'),
    ('cut off: its index*', 'index_missing'),
    ('cut off: *', 'bytes_missing'),
    ('a symbolic link*', 'symbolic_link'),
    ('a pipe', 'pipe'),
    ('a socket', 'socket'),
    ('a device', 'device'),
    ('not a regular file*', 'not_a_regular_file'),
    ('cannot be read: *', 'cannot_read'),
    ('cannot be opened: *', 'cannot_read'),
    ('cannot be listed: *', 'cannot_list'),
    ('ignored by its name*', 'ignored_name'),
    ('no such file*', 'no_such_file'),
    ('no longer in the inbox*', 'removed'),
    ('removed before it could be *', 'removed'),
    ('written or replaced while it was *', 'changed_while_read'),
    ('became shorter while it was sent*', 'changed_while_read'),
    ('text, not a video or photo*', 'text_file'),
    ('a playlist that points to*', 'playlist'),
    ('sound without pictures*', 'sound_only'),
    ('a*, not a video or photo', 'other_file_type'),
    ('a Git LFS pointer*', 'other_file_type'),
    ('damaged at its beginning*', 'unknown_format'),
    ('its pictures are encrypted*', 'encrypted'),
    ('no pictures were found in it*', 'no_pictures'),
    ('its index is damaged*', 'index_damaged'),
    ('no frame could be decoded*', 'no_frame_decoded'),
    ('a photo that cannot be decoded*', 'photo_not_decoded'),
    ('frames of * megapixels*', 'too_many_pixels'),
    ('only * could be decoded', 'partly_decoded'),
    ('same content as *', 'duplicate_of'),
    ('the beginning of *', 'partial_copy_of'),
    ('forgotten on *', 'erased'),
    ('this content was forgotten*', 'erased_earlier'),
    ('the worker ran out of memory*', 'out_of_memory'),
    ('the worker took more than *', 'timeout'),
    ('the worker computed for longer *', 'cpu_limit'),
    ('no answer from * within *', 'timeout'),
    ('the worker''s answer *', 'invalid_result'),
    ('the job ended without an answer *', 'invalid_result'),
    ('the worker does not take the file*', 'file_refused'),
    ('the worker was ended by *', 'worker_killed'),
    ('the worker ended without an answer*', 'worker_exited'),
    ('the worker *', 'worker_died'),
    ('the workers were ended*', 'worker_died'),
    ('no worker could be begun*', 'worker_died'),
    ('the file sent is gone again*', 'worker_died'),
    ('* workers were lost while they had it*', 'workers_lost'),
    ('unexpected *', 'unexpected_error'),
    ('its faces belong to nobody, no tracks*', 'tracking_failed'),
    ('* portraits are gone; the share may be away.*', 'portraits_disappeared'),
    ('?*', 'other');

update files set reason_code = coalesce((select code from old_sentences
    where files.reason glob pattern order by id limit 1), '');
update videos set reason_code = coalesce((select code from old_sentences
    where videos.reason glob pattern order by id limit 1), '');
update slices set reason_code = coalesce((select code from old_sentences
    where slices.reason glob pattern order by id limit 1), '');
update file_steps set reason_code = coalesce((select code from old_sentences
    where file_steps.reason glob pattern order by id limit 1), '');
update partial_copies set reason_code = coalesce((select code from old_sentences
    where partial_copies.reason glob pattern order by id limit 1), '');
update blocked_stages set reason_code = coalesce((select code from old_sentences
    where blocked_stages.reason glob pattern order by id limit 1), '');
-- A content that failed under another name failed under this one too.
update files set reason_code = 'duplicate_of_failed'
    where reason_code = 'duplicate_of' and state = 'failed';
update file_steps set reason_code = 'duplicate_of_failed'
    where reason_code = 'duplicate_of' and state = 'failed';
drop table old_sentences;

create trigger file_was_seen after insert on files
begin
    insert into file_steps (file_id, state, reason, reason_code, size, at)
    values (new.id, new.state, new.reason, new.reason_code, new.size, new.changed_at);
end;

create trigger file_went_on after update on files
when old.state is not new.state or old.reason is not new.reason or old.size is not new.size
begin
    insert into file_steps (file_id, state, reason, reason_code, size, at)
    values (new.id, new.state, new.reason, new.reason_code, new.size, new.changed_at);
    delete from file_steps where file_id = new.id and id not in
        (select id from file_steps where file_id = new.id order by id desc limit 50);
end;
