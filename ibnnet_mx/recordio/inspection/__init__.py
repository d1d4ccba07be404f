"""Looking at record files: is all of it sound, and what does it look like."""
