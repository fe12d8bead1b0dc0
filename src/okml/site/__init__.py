"""The site: a Sphinx extension that shows the ledger, the staging of the book, and its checks."""
