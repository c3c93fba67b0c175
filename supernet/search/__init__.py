"""Architecture search: algorithms (ask/tell), loop, journal, Pareto fronts, and how far a ranking can be trusted."""
