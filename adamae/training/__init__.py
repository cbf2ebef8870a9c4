"""Objectives, engines, optimiser groups, schedules, the loop and its log."""
