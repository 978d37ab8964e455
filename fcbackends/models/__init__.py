"""Trained networks kept in files, with what is needed to apply them and to go on."""
