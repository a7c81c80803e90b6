# Built from the repository: docker build -f infra/gateway.Dockerfile .
FROM python:3.12-slim
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY mesh mesh
COPY node node
COPY gateway gateway
COPY sdk-wasm/examples/hotel sdk-wasm/examples/hotel
RUN pip install --no-cache-dir '.[stack]' && useradd --system gossamer \
    && install -d -o gossamer -g gossamer /var/lib/gossamer
COPY infra/gateway.yaml /etc/gossamer/gateway.yaml
USER gossamer
EXPOSE 8080
CMD ["gossamer", "gateway", "--config", "/etc/gossamer/gateway.yaml"]
