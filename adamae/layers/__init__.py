"""The parts that every network here is made of."""
