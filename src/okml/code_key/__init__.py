"""The code that a result depends on: all that its function can reach, by static analysis.

Comments, docstrings, annotations of arguments and formatting change no number, so none of them
counts; nor does a function that is never reached. The analysis reaches:

* the functions, classes and constants that a function names, also through imports;
* of a class, all that is evaluated when it is defined, and its special methods. Any other method
  counts once its name is used anywhere in the reached code, on any object. All methods count
  where a base comes from another library, which calls them by names of its own;
* of each module that is imported on the way, the statements that act when it is.

This overestimates the code that is called. Two things would be missed: modules imported by a
computed name, and methods of classes without foreign bases that only another library calls.
"""

from okml.code_key.reach import WHOLE, Code, Sources, code_key_of, full_name, package_sources

__all__ = ["WHOLE", "Code", "Sources", "code_key_of", "full_name", "package_sources"]
