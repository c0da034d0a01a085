-- The time of each frame of a video: programs that correct boxes number frames, and a frame rate does
-- not tell the time of a frame in every video.
create table frame_times (
    video_id integer primary key references videos (id) on delete cascade,
    sha256 text not null,                       -- the content that it is true of
    times blob not null                         -- microseconds, each less the one before; zlib
) strict;
