"""The boundary: every argument is checked and cast here, once, and refused with one text.

Each function returns its argument in the form that the layers below take.
"""
