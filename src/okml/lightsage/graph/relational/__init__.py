"""The graph as relational expressions, for logs larger than memory.

Each module has the expression of its namesake in ``okml.lightsage.graph``, written in ibis; DuckDB
runs it out of core and Spark on a cluster. ``engines`` starts either.
"""
