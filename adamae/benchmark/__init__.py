"""Benchmarks: time, memory and arithmetic of training steps, and throughput of data loading."""
