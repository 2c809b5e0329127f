"""Tests of the kernel on the real PostgreSQL and RabbitMQ, in this process."""
