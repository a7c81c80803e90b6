FROM python:3.12-slim
WORKDIR /worker
RUN pip install --no-cache-dir 'confluent-kafka>=2.6,<3' && useradd --system worker
COPY sdk-wasm/python/gossamer_worker gossamer_worker
COPY sdk-wasm/python/examples examples
ENV PYTHONPATH=.
USER worker
CMD ["python", "examples/worker.py"]
