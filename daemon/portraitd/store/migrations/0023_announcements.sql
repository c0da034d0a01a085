-- Whether a line about it was written to state/events.jsonl. What is here already is no news.
alter table videos add column announced integer not null default 0;
alter table people add column announced integer not null default 0;
update videos set announced = 1;
update people set announced = 1;
create index videos_unannounced on videos (id) where not announced;
create index people_unannounced on people (id) where not announced;

create table announced_block (
    id integer primary key check (id = 1),
    reason text not null,
    reason_code text not null
) strict;
