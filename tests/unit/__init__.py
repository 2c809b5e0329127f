"""Tests that need nothing running: on SQLite, or on PostgreSQL where there is one."""
