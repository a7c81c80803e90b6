FROM node:20-slim
WORKDIR /worker
COPY sdk-wasm/node/package.json sdk-wasm/node/package-lock.json sdk-wasm/node/tsconfig.json ./
RUN npm ci --no-audit --no-fund
COPY sdk-wasm/node/src src
COPY sdk-wasm/node/examples examples
COPY sdk-wasm/node/test test
RUN npm run build && npm prune --omit=dev --no-audit --no-fund
USER node
CMD ["node", "build/examples/worker.js"]
