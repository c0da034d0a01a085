-- How likely two people are one person. The next grouping finds the pairs again; until then, those
-- that are nearly always different people are not shown. All distances here are of dlib's model,
-- whose card says from which distance a pair is "very likely" one person.
alter table merge_candidates add column probability real not null default 0.6;
delete from merge_candidates where distance > 0.55;
update merge_candidates set probability = 0.75 where distance <= 0.54;
