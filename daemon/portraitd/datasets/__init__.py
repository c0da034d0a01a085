"""Stage 6, training sets: the same annotations in the formats that trainers read.

A build has three steps, each in a worker. ``planner`` reads the store and decides classes,
splits, frames and crops (``annotations.Plan``). ``cropping`` cuts the missing images out of the
videos into the frame cache (``crop_jobs``, ``crop_requests``). ``writer`` writes every format
(``formats``), the report and the class index, and ``output`` publishes the folder. ``build`` runs
the steps, ``dataset_stage`` decides when; ``validate`` checks a set by the rules of its loaders.
"""
