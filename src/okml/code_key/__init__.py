"""The code that a result depends on: what its function can reach, found in the sources alone.

A comment, a docstring, the type of an argument or another line break changes no number, so none of
them counts; nor does a function that is never reached. What is reached:

* what a function names, through imports too: functions, classes, constants;
* of a class, all that is evaluated when it is defined, and its special methods. Any other method
  counts once its name is used anywhere in what is reached, on whatever object. All methods count
  where a base comes from another library, which calls them by names of its own;
* of each module that is imported on the way, the statements that act when it is.

So more counts than is ever called. What the sources do not show would be missed: modules imported
by a computed name, and plain classes whose methods only another library calls.
"""

from okml.code_key.reach import WHOLE, Code, Sources, code_key_of, full_name, package_sources

__all__ = ["WHOLE", "Code", "Sources", "code_key_of", "full_name", "package_sources"]
