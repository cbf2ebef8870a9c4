"""From a data set as it is downloaded to list files and videos that training reads fast."""
