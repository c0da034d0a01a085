"""The numbers of dlib's vectors, which most synthetic faces of the tests imitate."""

from portraitd.faces.models.cards import DLIB
from portraitd.faces.models.model_registry import require_rules

DLIB_RULES = require_rules(DLIB)
