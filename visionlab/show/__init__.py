"""Figures, tables and widgets: takes arrays and results, gives something to look at, trains nothing."""
