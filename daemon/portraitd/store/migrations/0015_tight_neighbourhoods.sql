-- People whom the model in use cannot tell from others, as the last grouping found them; and how
-- many faces were kept apart for that reason, with or without a person.
create table indistinct_people (person_id integer primary key) strict;
alter table grouping_runs add column indistinct_faces integer not null default 0;
