"""The sections of a page: each module turns contents into the texts and rows of one; no template computes anything."""
