"""Visualisation of the sampler and the reconstruction: panels, films, HTML pages and reports."""
