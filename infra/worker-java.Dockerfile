FROM maven:3-eclipse-temurin-21 AS build
WORKDIR /worker
COPY sdk-wasm/java/ ./
RUN mvn -q -B package -DskipTests

FROM eclipse-temurin:21
WORKDIR /worker
COPY --from=build /worker/target target
COPY --from=build /worker/examples examples
RUN useradd --system worker
USER worker
CMD ["java", "-Xmx64m", "-cp", "target/gossamer-worker.jar:target/lib/*", "examples/ExampleWorkerApp.java"]
