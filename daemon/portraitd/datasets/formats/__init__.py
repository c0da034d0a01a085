"""One module a training-set format: annotations in, files out."""
