"""A pool of sandboxed worker processes. It knows no job and no stage.

``pool`` hands jobs to processes, each with a pipe of its own, so a process that is killed at any
moment takes nothing with it. ``process`` is one worker: it sets its limits, loads what its jobs
need and enters the ``sandbox`` before it sees a dropped file. ``file_broker`` opens the files of
a job for workers that may open none. A job declares with ``job_results`` what it returns, and
``result_codec`` accepts nothing else. A process that dies, hangs or exceeds its limits fails its
own job only, with a reason.
"""
