-- Which questions were announced. Some databases of schema 23 have the table already.
create table if not exists announced_questions (key text primary key) strict, without rowid;
