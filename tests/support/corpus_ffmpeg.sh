#!/bin/sh
# ffmpeg for the corpus: repeats a short piece for the two long clips of one colour, which takes a
# twentieth of the time. All other calls are passed on.
for last; do :; done
case "$*" in
*color=black:size=8192x4320:rate=25:duration=8*)
    ffmpeg -v error -y -f lavfi -i color=black:size=8192x4320:rate=25:duration=0.8 \
        -c:v libx264 -preset ultrafast -x264-params cabac=1 -pix_fmt yuv420p "piece-$last" &&
        ffmpeg -v error -y -stream_loop 9 -i "piece-$last" -c copy "$last"
    ;;
*color=black:size=320x240:rate=1000:duration=200*)
    ffmpeg -v error -y -f lavfi -i color=black:size=320x240:rate=1000:duration=2 \
        -c:v libx264 -preset ultrafast -pix_fmt yuv420p "piece-$last" &&
        ffmpeg -v error -y -stream_loop 99 -i "piece-$last" -c copy "$last"
    ;;
*) exec ffmpeg "$@" ;;
esac
status=$?
rm -f "piece-$last"
exit $status
