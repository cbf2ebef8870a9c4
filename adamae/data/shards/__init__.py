"""Videos in WebDataset shards: tar files with random access to their members."""
