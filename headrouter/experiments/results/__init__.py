"""Summarise the results of an experiment: tables with intervals, paired differences, plots."""
