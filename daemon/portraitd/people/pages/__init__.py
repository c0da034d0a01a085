"""The pages in ``people/``, opened with a double click: values in; HTML, scripts and tables out.

A page without a server may read only scripts, styles and pictures, so all data comes as scripts
that call ``Gallery.…(…)``: one for each block of 250 people (about 75 bytes a person), and one for
each person, which is loaded when the person is opened. ``STATUS.html`` shows everything without a
script, in English, for previews that run none; the other pages are built in the browser, in the
reader's language. ``words.json`` contains all texts. The rules:

*   The cost is that of what changed. Each person has a fingerprint of everything their page shows,
    computed in one pass over an index. Faces are read and files are written only where it changed.
    A person's block is their number divided by 250, so no other person ever moves.
*   Names are data. They reach a page as ASCII JSON without ``<``; links are percent-encoded byte by
    byte; scripts create elements, never markup; and the policy of each page forbids any script or
    style that is not a file next to it.
*   Pictures are requested within 240 pixels of the visible part: ``loading="lazy"`` alone starts
    thousands of pixels ahead.
*   Tables are RFC 4180 in UTF-8 with a byte order mark, for Excel; LibreOffice and ``utf-8-sig``
    skip it. The decimal sign is a point. Text that would be a formula starts with an apostrophe.
"""
