"""Run the cells of an experiment: units of work, models, metrics, and the loop that several processes may share."""
