"""The servers that tests start themselves keep what they were given, whatever is done to them."""

import psycopg
import pytest
from pika import BasicProperties
from pika.exceptions import AMQPConnectionError, ConnectionClosedByBroker

from tests.servers import RABBITMQ, OwnPostgres, OwnRabbit, connect_to_broker, free_port

pytestmark = pytest.mark.without_servers


def test_a_killed_postgres_comes_back_with_what_was_committed(own_postgres: OwnPostgres) -> None:
    table = f"t{free_port()}"
    with psycopg.connect(own_postgres.url) as connection:
        connection.execute(f"CREATE TABLE {table} AS SELECT 42 AS answer")
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_postgres.url)
    own_postgres.start()
    with psycopg.connect(own_postgres.url) as connection:
        assert connection.execute(f"SELECT answer FROM {table}").fetchone() == (42,)


def test_a_killed_rabbitmq_comes_back_with_its_durable_messages(own_rabbitmq: OwnRabbit) -> None:
    connection = connect_to_broker(own_rabbitmq.url)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("kept", durable=True)
    channel.basic_publish("", "kept", b"a letter", BasicProperties(delivery_mode=2))
    connection.close()
    # Confirmed messages are on disk; that there is such a queue is not yet, so soon after.
    own_rabbitmq.control("eval", "mnesia:sync_log().")
    own_rabbitmq.kill()
    with pytest.raises(AMQPConnectionError):
        connect_to_broker(own_rabbitmq.url)
    own_rabbitmq.start()
    connection = connect_to_broker(own_rabbitmq.url)
    _method, _properties, body = connection.channel().basic_get("kept", auto_ack=True)
    assert body == b"a letter"
    connection.close()


def test_the_broker_closes_every_connection_when_told(own_rabbitmq: OwnRabbit) -> None:
    connection = connect_to_broker(own_rabbitmq.url)
    own_rabbitmq.close_all_connections("closing time")
    with pytest.raises(ConnectionClosedByBroker, match="closing time"):
        connection.process_data_events(time_limit=10)


def test_a_server_that_is_not_there_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = f"amqp://guest:guest@127.0.0.1:{free_port()}/%2F"
    monkeypatch.setenv("TEST_RABBITMQ_URL_PROBED", "{}")
    monkeypatch.setenv("TEST_RABBITMQ_URL", nowhere)
    assert RABBITMQ.missing.startswith(f"RabbitMQ is missing at {nowhere}")
    assert "TEST_RABBITMQ_URL" in RABBITMQ.missing
    monkeypatch.setenv("TEST_RABBITMQ_URL", "none")
    assert "TEST_RABBITMQ_URL forbids it" in RABBITMQ.missing
