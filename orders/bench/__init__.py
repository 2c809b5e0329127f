"""`manage.py bench`: how fast the house is, and what its safety costs; `manage.py bench_office`: what the
office's pages cost in a house that has been open for months.

`house` opens a house for the occasion: a database and queues of its own (`servers`) and worker processes
(`processes`). A driver, in a process of its own, serves tables there (`tables`) and sends the same messages
over plain Dramatiq (`direct`, `direct_tables`), both in one closed loop (`load`). `cpu` and `wire` measure,
`figures` says what comes out of it, `report` puts it together.

For the office, `evenings` are served once each, `archive` fills a database with their copies, `pages` asks
for the pages and measures, and `plans` tells which tables are read from end to end.
"""
