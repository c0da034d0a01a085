-- Vectors of another embedding model, kept beside those in use until every face has one. Without a
-- vector: the portrait (tried = 1) or the file too (tried = 2) could not give one.
create table reembedded (
    face_id integer primary key references faces (id) on delete cascade,
    space text not null,
    tried integer not null,
    embedding blob
) strict;

-- Whether all faces have vectors of one model is asked at every tick.
create index faces_by_encoder on faces (encoder);
