"""What README.txt in the root of the tree says to the people who review there."""

README_NAME = "README.txt"

README_TEXT = """\
PORTRAITS, ONE FOLDER PER PERSON

portraitd found these faces in the videos and photos of its inbox and keeps this
folder up to date while you look at it.

  person-0001 ...   One person each. Give the folder the person's name if you know
                    it: portraitd finds it again under any name.
  000123.jpg        A portrait. The number is the face's and never changes.
  000123.txt        Where the face is in that portrait, for training: class, then
                    the box's centre, width and height as shares of the picture.
  montage.jpg       The person at one glance.
  _unsorted         Faces that could not be told to be anybody's yet.
  index.html        Open it in a browser: everybody at one glance, search, where
                    each is seen, and what deserves a second look. No server needed.
  STATUS.html       What is being processed, how long it takes, what failed and why.
  gallery           What these pages need; and appearances.csv, for editors.

WHAT YOU MAY DO HERE

  Rename a folder                             names the person
  Rename it to a name that exists, or drop
    one folder into another                   these two are one person
  Move a portrait into another folder         that face is that person
  Move a portrait to _unsorted                that face is not this person
  Move portraits into a new folder            a new person
  Delete a portrait                           never show this face again
  Move a folder or portrait to _ignored       keep it out of sight; moving it back
                                              undoes that
  Delete a folder                             the same as moving it to _ignored
  Copy a portrait or a folder                 nothing, as long as the original stays
  Put people's folders into one of yours      nothing; they are found there

Portraits know which face they are: you may rename them, and put one back that you
kept elsewhere. If much vanishes at once, nothing is decided until somebody confirms.

Your own files are never touched. A portrait you changed is never overwritten: if
portraitd has a newer one, it puts it beside yours as "000123 (portraitd).jpg".
What file managers leave behind (Thumbs.db, .DS_Store) goes with an empty folder.

Please leave the hidden files .portraitd-root and .person.json where they are:
portraitd knows its folders by them.
"""
