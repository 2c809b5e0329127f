"""One settings file. What differs between houses is read from the environment; nothing has to be set.

With neither DATABASE_URL nor RABBITMQ_URL the house is *embedded*: SQLite and an in-process broker.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import structlog
from django.core.management.utils import get_random_secret_key
from django.templatetags.static import static
from environs import Env, ValidationError

env = Env()
MISHAPS = {"burned": 0.0, "declined": 0.0, "left": 0.0}  # pizzas, cards, guests
BASE_DIR = Path(__file__).resolve().parent.parent


def is_amqp(url: str) -> None:
    """Refuses what is not the address of a broker."""
    try:
        valid = not url or (urlsplit(url).scheme in ("amqp", "amqps") and bool(pika.URLParameters(url).host))
    except Exception:  # noqa: BLE001  (pika raises whatever its parsing stumbles over)
        valid = False
    if not valid:
        raise ValidationError("Write it like this: amqp://user:password@host:5672/%2F")


def is_pace(pace: float) -> None:
    """Refuses what is not a factor for pauses."""
    if not 0 <= pace <= 1000:
        raise ValidationError("It is a number from 0 to 1000.")


def is_port(port: int) -> None:
    """Refuses what is not a port."""
    if not 0 <= port <= 65535:
        raise ValidationError("It is a number from 0 to 65535.")


def is_patience(patience: float) -> None:
    """Refuses what is not a factor for deadlines."""
    if not 0 < patience <= 1000:
        raise ValidationError("It is a number above 0, up to 1000.")


def is_payment(way: str) -> None:
    """Refuses a way to pay that there is not."""
    if way not in ("simulated", "remote"):
        raise ValidationError('It is "simulated" or "remote".')


def are_mishaps(shares: dict[str, float]) -> None:
    """Refuses what does not happen, and what is not a share."""
    for name, share in shares.items():
        if name not in MISHAPS or not 0 <= share <= 1:
            raise ValidationError("Write shares from 0 to 1 like this: burned=0.1,declined=0.5,left=0")


DEBUG = env.bool("DJANGO_DEBUG", False)
# Without a key of its own each process makes one: safe, but a restart logs everybody out of the admin.
SECRET_KEY = env.str("DJANGO_SECRET_KEY", "") or get_random_secret_key()
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", [])
if env.bool("DJANGO_HTTPS", False):
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = ["^metrics$"]  # Prometheus asks past the proxy

INSTALLED_APPS = [
    "pizzahouse.messaging",  # before django_dramatiq: its rundramatiq checks more
    "orders",
    "orders.office",
    "menu",
    "waiter",
    "kitchen",
    "django_dramatiq",
    "unfold",  # before the admin, whose theme it is
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "pizzahouse.messaging.health.HealthMiddleware",  # first: it answers whatever the host's name, without TLS
    "orders.office.planning.planned_anew",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "pizzahouse.urls"
WSGI_APPLICATION = "pizzahouse.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LOGIN_REDIRECT_URL = "admin:index"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
WHITENOISE_USE_FINDERS = True

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "The pizza house",
    "SITE_HEADER": "The pizza house",
    "SITE_SYMBOL": "local_pizza",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("office/favicon.svg")}
    ],
    "STYLES": [lambda _request: static("office/office.css"), lambda _request: static("office/process.css")],
    "SCRIPTS": [lambda _request: static("office/office.js")],
    "SIDEBAR": {"navigation": "orders.office.navigation.sidebar"},
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
}

# --- The database ---------------------------------------------------------------------------------

DATABASE: dict[str, Any] = env.dj_db_url(
    "DATABASE_URL", f"sqlite:///{BASE_DIR / 'pizzahouse.sqlite3'}", conn_max_age=None
)
if DATABASE["ENGINE"].endswith("postgresql"):
    DATABASE.setdefault("OPTIONS", {})
    DATABASE["OPTIONS"] |= {
        "server_side_binding": True,  # with it psycopg prepares what is asked again and again
        "prepare_threshold": 2,
        "connect_timeout": 5,
        "application_name": "pizzahouse",
    }
elif DATABASE["ENGINE"].endswith("sqlite3"):
    DATABASE["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a deferred read-then-write fails at once under load
        "init_command": "PRAGMA journal_mode=WAL;",
        "timeout": 30,
    }
DATABASES = {"default": DATABASE}

# --- Messaging ------------------------------------------------------------------------------------

RABBITMQ_URL = env.str("RABBITMQ_URL", "", validate=is_amqp)
MESSAGING: dict[str, Any] = {
    # Several houses can share one broker: every queue's name starts with this.
    "QUEUE_PREFIX": env.str("PIZZAHOUSE_QUEUE_PREFIX", ""),
    "QUEUE_TYPE": env.str("PIZZAHOUSE_QUEUE_TYPE", "classic"),
    # A handler that raises is tried again after 1, 2, 4, ... s (with jitter), at most so often.
    "MAX_ATTEMPTS": env.int("PIZZAHOUSE_MAX_ATTEMPTS", 8),
    "RETRY_SECONDS": env.float("PIZZAHOUSE_RETRY_SECONDS", 1.0),
    # What the broker confirmed and nobody handled is sent again after so long, then after twice that, ...
    "RESEND_SECONDS": env.float("PIZZAHOUSE_RESEND_SECONDS", 300.0),
    # Where workers show their metrics (0: nowhere), and what one has to know to see any.
    "METRICS_PORT": env.int("PIZZAHOUSE_METRICS_PORT", 0, validate=is_port),
    "METRICS_TOKEN": env.str("PIZZAHOUSE_METRICS_TOKEN", ""),
    # Where traces are sent to (empty: none are made); OpenTelemetry reads the rest of its variables itself.
    "OTLP_ENDPOINT": env.str("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
}
DRAMATIQ_BROKER: dict[str, Any] = {
    "BROKER": "pizzahouse.messaging.broker.SafeRabbitmqBroker",
    "OPTIONS": {"url": RABBITMQ_URL, "queue_type": MESSAGING["QUEUE_TYPE"]},
    "MIDDLEWARE": [
        "django_dramatiq.middleware.DbConnectionsMiddleware",
        "pizzahouse.messaging.broker.RelayMiddleware",
    ],
}
if not RABBITMQ_URL:
    DRAMATIQ_BROKER |= {"BROKER": "pizzahouse.messaging.broker.EmbeddedBroker", "OPTIONS": {}}
DRAMATIQ_AUTODISCOVER_MODULES = ("actors",)
# Dramatiq reads it once, from the environment: how soon a consumer that lost its broker tries again.
os.environ.setdefault("dramatiq_restart_delay", "1000")

# --- The restaurant -------------------------------------------------------------------------------

PIZZAHOUSE_PACE = env.float("PIZZAHOUSE_PACE", 1.0, validate=is_pace)  # 1: pauses of a second; 0: none
# How long a saga waits for an answer before it asks again: 1 is what its steps say.
PIZZAHOUSE_PATIENCE = env.float("PIZZAHOUSE_PATIENCE", 1.0, validate=is_patience)
# The share of pizzas that burn, cards that are declined, and guests who leave, to see what happens then.
PIZZAHOUSE_MISHAPS: dict[str, float] = MISHAPS | env.dict(
    "PIZZAHOUSE_MISHAPS", {}, subcast_values=float, validate=are_mishaps
)
# Codes of pizzas for which the oven is too cold, to see what fails then: the kitchen does, at these.
PIZZAHOUSE_COLD_OVEN: list[str] = env.list("PIZZAHOUSE_COLD_OVEN", [])
# "simulated": guests pay by themselves; "remote": a payment service tells us (docs/payments.md).
PIZZAHOUSE_PAYMENT = env.str("PIZZAHOUSE_PAYMENT", "simulated", validate=is_payment)
PIZZAHOUSE_PAYMENT_SECRET = env.str("PIZZAHOUSE_PAYMENT_SECRET", "")

# --- Logs (stderr; stdout is for results) ---------------------------------------------------------

# Workers tell what they do; an embedded house shares its terminal with the story.
LOG_LEVEL = env.str("LOG_LEVEL", "INFO" if RABBITMQ_URL else "WARNING").upper()
LOG_FORMAT = env.str("LOG_FORMAT", "console", validate=lambda value: value in ("console", "json"))
LOG_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": LOG_PROCESSORS,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer()
                if LOG_FORMAT == "json"
                else structlog.dev.ConsoleRenderer(colors=False),
            ],
        }
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "structured",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    # pika tells every lost connection three times over; ours says it once, with what follows.
    "loggers": {"pika": {"level": "CRITICAL"}},
}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *LOG_PROCESSORS,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
