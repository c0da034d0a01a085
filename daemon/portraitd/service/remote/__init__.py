"""Encoding workers on other machines, found, connected and encrypted by Dask.

Only ``encode`` jobs run there; probing, tracking, grouping and montages read local files.
``dask_client`` is the only module that imports Dask, ``remote_executor`` decides which worker
gets which job, ``registry`` knows the workers, ``agent`` runs inside a Dask worker, ``transfer``
and ``file_cache`` send and keep files. The rules:

*   A job is given to one worker by name, not to Dask's own queue. No worker gets a job before its
    handshake (version, embedding space, detector) was accepted, a file is sent to as few workers
    as possible, and the service knows exactly what a lost worker had.
*   Inside a Dask worker the job runs in a ``LocalExecutor``, sandboxed as on one machine. A crash,
    a timeout or a lack of memory costs only that job, and the worker continues to answer.
*   The number of jobs at a worker is bounded: its processes, and ``workers.ahead`` more. All other
    jobs stay rows in the store.
*   A lost worker does not count as an attempt. Its jobs go to other workers; after six lost workers
    the slice is considered the cause. A worker that stays connected but sends nothing for twice the
    time limit and 60 s is considered lost, and gets no jobs until it sends again.
*   A broken connection, or a restarted scheduler, counts as nothing. Dask reconnects by itself and
    drops all jobs, so each connection has a number. Workers that still exist keep their jobs:
    they repeat the handshake and are given the same jobs again. A job has a name, and a worker that
    runs it, or has its result, does not start it twice.
*   A result counts once: the store accepts it only for a slice that is running. It is validated
    (``workers.result_codec``), which finds mistakes but is not a security boundary: Dask's own
    messages are programs.
*   A worker that cannot read the inbox under the same path is sent whole files, in pieces of 4 MB,
    each content once per worker, verified by hash, in a folder of bounded size. Not the byte range
    of a slice, because only the demuxer of each container knows where it is, and a range that is
    short by one frame decodes to other pictures without an error. Not a remuxed segment, because a
    remuxer changes timestamps. Slices go first to workers that have their file.
*   Whether a folder is shared is tested: the service writes a hidden file with random content to
    the inbox, and a worker reports whether it finds the same stamp and hash under the same path.
"""
