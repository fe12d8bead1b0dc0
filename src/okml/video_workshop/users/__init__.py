"""The user model: trained once on all events, used by several recommenders."""
