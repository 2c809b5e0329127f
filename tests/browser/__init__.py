"""Tests in a real browser, of a house with real workers and a real web server."""
