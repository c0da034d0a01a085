"""The README.txt in the root of the tree, for the people who review there."""

README_NAME = "README.txt"

README_TEXT = """\
PORTRAITS, ONE FOLDER PER PERSON

portraitd found these faces in the videos and photos of its inbox. It keeps this
folder up to date while you browse and edit it.

  person-0001 ...   One person each. If you know who it is, rename the folder to the
                    person's name: portraitd recognises it under any name.
  000123.jpg        A portrait. The number identifies the face and never changes.
  000123.txt        Where the face is in that portrait, for training: class, then
                    centre x, centre y, width and height as fractions of the picture.
  montage.jpg       An overview of the person's portraits.
  _unsorted         Faces that could not be assigned to a person yet.
  _questions        Pictures that ask who is the same person.
  index.html        Open it in a browser: overview, search, where each person
                    appears, and what to check. No server needed.
  STATUS.html       What is being processed, how long it takes, what failed and why.
  gallery           Files of these pages, and appearances.csv for video editors.

WHAT YOU CAN DO HERE

  Rename a folder                             names the person
  Rename it to a name that exists, or move
    one folder into another                   merges the two people
  Move a portrait into another folder         assigns that face to that person
  Move a portrait to _unsorted                says that it is not this person
  Move portraits into a new folder            makes a new person
  Put a picture into a folder _who            asks who that is: a text beside it answers
  Put a picture of your own into a new
    folder, such as Anna/anna.jpg             says who Anna is, before she is seen;
                                              the picture stays yours
  Rename a folder to its own number again,
    such as person-0002                       takes the name back
  Delete a portrait                           never show this face again
  Move a folder or portrait to _ignored       hides it; moving it back undoes that
  Delete a folder                             the same as moving it to _ignored
  Move a picture in _questions into the
    folder yes or no beside it                says that all or none of it is right
  Rename it to numbers, such as "2 5"         says that these are right
  Delete such a picture                       not now; it comes back after a week
  Copy a portrait or a folder                 has no effect while the original is there
  Move people's folders into one of yours     has no effect; they are found there

Every portrait contains its number: you can rename portraits, and put back one that
you kept elsewhere. The folder _edits, if there is one, holds the last edits as files;
move one into _edits/undo to undo that edit. If many portraits disappear at once,
portraitd asks in _questions whether they were deleted, and does nothing about them
before you answer.

Your own files are never touched. A portrait that you changed is never overwritten:
a newer one is put beside it as "000123 (portraitd).jpg". Files that file managers
create (Thumbs.db, .DS_Store) are removed together with an empty folder.

Please leave the hidden files .portraitd-root and .person.json in place: portraitd
recognises its folders by them.
"""
