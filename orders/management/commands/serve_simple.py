"""`manage.py serve_simple BAR`: serve somebody at the counter, and tell how it goes."""

from orders.serving import ServeCommand
from orders.simple_serving import SimpleServing


class Command(ServeCommand):
    help = "Serve somebody at the counter: they order, pay and leave. The kitchen is not asked."
    scenario = SimpleServing
