-- The token in the marker of the inbox: a folder with another one is not the inbox, but, for
-- instance, the folder under its mount point. No row before the marker was read for the first time.
create table inbox_marker (
    token text not null
) strict;
