"""Pictures of what the sampler sees: panels, films, pages and reports."""
