-- Why a remote worker gets no jobs, as a code. What is stored is replaced within seconds.
alter table remote_workers add column reason_code text not null default '';
