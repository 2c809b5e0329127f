# One image for the admin and for every worker; docker-compose.yml says which of them a container is.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1
WORKDIR /app

ARG REQUIREMENTS=requirements.txt
COPY requirements*.txt ./
RUN pip install --no-cache-dir --require-hashes -r ${REQUIREMENTS}

COPY . .
# The folder itself belongs to the user, so that the embedded default can keep its SQLite file there.
RUN python manage.py collectstatic --no-input \
    && useradd --system --no-create-home house \
    && chown house /app
USER house

EXPOSE 8000
CMD ["gunicorn", "pizzahouse.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", \
    "--access-logfile", "-", "--no-control-socket"]
