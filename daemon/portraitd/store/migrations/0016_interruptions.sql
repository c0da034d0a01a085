-- How often the service ended while a worker had the job. That is not an attempt, because the
-- service may have been killed for another reason; but a job that ends the service is found.
alter table files add column interruptions integer not null default 0;
alter table slices add column interruptions integer not null default 0;
-- Earlier versions counted these as attempts. Nothing tells which of them were.
update files set attempts = 0 where state in ('ready', 'probing');
update slices set attempts = 0 where state in ('queued', 'running');
