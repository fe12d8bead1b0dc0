"""The pictures of the chapter; each is a function of rows."""
