-- Which person each track without one may show, as the last grouping found.
create table near_misses (
    track_id integer primary key references tracks (id) on delete cascade,
    person_id integer not null,
    probability real not null
) strict;

-- Answers to questions that say nothing for good: "not now", and "not all of these are one person".
create table deferred_questions (
    key text primary key,                       -- the question: ids of people and faces
    answer text not null,                       -- later or not-all
    at real not null
) strict, without rowid;
