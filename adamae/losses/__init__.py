"""What training minimises, one loss in each file."""
