-- The files beside recordings of the inbox that name their people: what each says at present.
create table sidecars (
    file_id integer not null,                   -- the recording; also after its row is gone
    kind text not null,                         -- xmp or nfo
    path blob not null,                         -- below the inbox
    identity text not null,                     -- hash of whom it names, and where; empty: nobody
    primary key (file_id, kind)
) strict, without rowid;

-- Photos whose face regions were read, and the state of photo and sidecar that was read.
create table region_readings (
    file_id integer primary key references files (id) on delete cascade,
    stamp text not null
) strict;
