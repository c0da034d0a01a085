"""Known people: pictures of the reviewers' own that say who is who.

::

    people/Anna/ref.jpg
      tree/reference_pictures   what is in the folders, and who each folder is about
      reference_stage           settled pictures → files to read, as those of the inbox
      ingest                    decoded in a worker: one face, or the clearly largest
      reference_stage           a finished picture → an edit: this face is Anna's
      clustering                the face is an exemplar of Anna's from the next grouping on
"""
