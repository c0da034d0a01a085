"""Stage 6, training sets: the same annotations in the formats that trainers read.

A build has three steps, each in a worker. ``planner`` reads the store and decides classes,
splits, frames and crops (``annotations.Plan``). ``cropping`` cuts the missing images out of the
videos into the frame cache (``crop_jobs``, ``crop_requests``). ``writer`` writes every format
(``formats``), the report and the class index, and ``output`` publishes the folder. ``build`` runs
the steps, ``dataset_stage`` decides when; ``validate`` checks a set by the rules of its loaders.

``split_assignment`` divides faces and frames, with ``split_units`` as its rule and
``split_overview`` to look at it; ``quality_floor`` leaves poor faces out. ``frozen_sets`` keeps
versions, and ``set_erasure`` erases people from sets and versions.
"""
