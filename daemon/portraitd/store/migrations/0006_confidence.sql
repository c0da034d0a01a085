-- What the detector's score is worth, 0 to 1; faces of before are taken as they were.
alter table faces add column confidence real not null default 1.0;
