"""Other ways to few steps from the same teacher, as their papers state them."""
