"""Videos in WebDataset shards: tar files, each of them read at any place."""
