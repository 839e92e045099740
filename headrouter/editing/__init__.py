"""The editor: a picture and a prompt in, a result, its record and kept inversions out."""
