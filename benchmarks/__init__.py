"""The suite itself: cells, workers, measures, and the pytest plugin that runs them."""
