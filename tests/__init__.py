"""The tests: unit (nothing running), integration (real servers), acceptance (as a user runs it)."""
