"""What cannot be learned from a data set, and what to change, before anything is trained."""
