"""The definitions of the graph as expressions over tables, for logs that outgrow memory.

Each module has the expression of its namesake in ``okml.lightsage.graph``, written once against
ibis; DuckDB runs it out of memory and Spark out of one machine. ``engines`` starts either.
"""
