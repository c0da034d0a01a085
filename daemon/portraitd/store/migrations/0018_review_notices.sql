-- What portraitd could not do with something that a reviewer did in the tree, and why.
create table review_notices (
    code text not null,
    location text not null,                     -- below the root of the tree
    facts text not null,                        -- the values named in its sentence, as JSON
    at real not null,
    primary key (code, location)
) strict, without rowid;

-- How many portraits the reviewer moved or deleted; null for an entry of an earlier version. The
-- faces of an entry are more: a portrait stands for its track.
alter table ledger add column portraits integer;
