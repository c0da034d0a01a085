"""Give every labelled person of a home one folder with the right faces, and the name of the label.

    portraitd process STILLS CLIP… --home HOME --set review.unsorted_portraits=0
    python benchmarks/labelled_home.py HOME --clips CLIPS --same synth=lfw
    portraitd dataset build --home HOME

HOME is changed: the scripted reviewer of ``review_gestures.py`` corrects its folders by hand,
and then renames them. Labels are those that ``review_gestures.py`` describes. The next command
that reads the people folder takes the names over. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json

from review_gestures import Reviewer, name_folder, people_of, read_labels

from portraitd.people.tree.locations import find_person_folders
from portraitd.people.tree.scan import ScanCache


def name_people(reviewer: Reviewer) -> int:
    """Rename the folder of each labelled person; return the number of people."""
    root = reviewer.settings.people_dir
    folders = find_person_folders(root, ScanCache(""))
    shown = people_of(reviewer.tracks().values())
    for person, label in shown.items():
        at = root / folders[person].location
        if at.name != name_folder(label):
            at.rename(at.with_name(name_folder(label)))
    return len(shown)


def main() -> None:
    """Correct the home, name its people, and print what was done."""
    arguments, labels = read_labels(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    reviewer = Reviewer(arguments.home, labels, questions=0)
    reviewer.review()
    people = name_people(reviewer)
    print(json.dumps({"people": people, "labelled_tracks": len(labels)} | reviewer.gestures))


if __name__ == "__main__":
    main()
