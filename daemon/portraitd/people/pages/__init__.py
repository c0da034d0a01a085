"""The pages people open by double click: values in; HTML, scripts and tables out.

A page from a share has no server, and a browser lets it read no other file but scripts, styles
and pictures. So data comes as scripts that call ``Gallery.…(…)``: a block of people each, and
one file a person that is loaded when somebody looks at them.
"""
