/** The way to a gateway: what cannot be is said at once, and a token is in one header alone. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { inspect } from "node:util";

import { Worker } from "../src/index.js";
import { Gateway, Trouble } from "../src/line.js";

const SECRET = "gsk_a-secret";

let server: Server;
let url: string;
let status: number;
let seen: (string | undefined)[];
let folder: string;

/** Answers with the token that it was shown. */
beforeEach(async () => {
  status = 200;
  seen = [];
  folder = mkdtempSync(join(tmpdir(), "gossamer-"));
  server = createServer((request, response) => {
    const shown = request.headers.authorization;
    seen.push(shown);
    request.resume().on("end", () => {
      response.writeHead(status, { location: "/elsewhere" });
      response.end(JSON.stringify({ detail: `you\n said ${shown}` }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/behind/`;
});

afterEach(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

test("what is said of a refusal has no token", async () => {
  const gateway = new Gateway({ url, token: SECRET });
  assert.deepEqual(await gateway.post("/jobs", "{}", 10_000), {
    detail: `you\n said Bearer ${SECRET}`,
  });
  const words: [number, RegExp][] = [
    [401, /does not know this worker's token/],
    [403, /needs the role `work`/],
    [302, /answers 302/],
    [400, /answers 400/],
    [503, /answers 503/],
  ];
  for (const [given, said] of words) {
    status = given;
    await assert.rejects(gateway.post("/jobs", "{}", 10_000), (error: Trouble) => {
      assert.match(error.message, said);
      assert.match(error.message, /you said Bearer …/);
      assert.ok(!error.message.includes(SECRET));
      assert.equal(error.kind, [400, 401, 403].includes(given) ? String(given) : "");
      return true;
    });
  }
  assert.equal(seen.length, 1 + words.length, "a redirect was followed");
  gateway.close();
});

test("a token is read anew from its file", async () => {
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, "first\n");
  const gateway = new Gateway({ url, tokenFile });
  await gateway.post("/jobs", "{}", 10_000);
  writeFileSync(tokenFile, "second\n");
  await gateway.post("/jobs", "{}", 10_000);
  rmSync(tokenFile);
  await assert.rejects(gateway.post("/jobs", "{}", 10_000), { kind: "token" });
  assert.deepEqual(seen, ["Bearer first", "Bearer second"]);
  gateway.close();
});

test("without a token it is asked for", async () => {
  status = 401;
  const gateway = new Gateway({ url });
  await assert.rejects(gateway.post("/jobs", "{}", 10_000), /wants a token .* GOSSAMER_TOKEN_FILE/);
  assert.deepEqual(seen, [undefined]);
  gateway.close();
});

test("a gateway that does not answer is given up", async () => {
  server.removeAllListeners("request");
  const gateway = new Gateway({ url });
  await assert.rejects(gateway.post("/jobs", "{}", 50), /did not answer within 0.05 s/);
  server.closeAllConnections();
  server.close();
  await assert.rejects(gateway.post("/jobs", "{}", 10_000), /cannot be reached .*ECONNREFUSED/);
  gateway.close();
});

test("what cannot be is said at once", () => {
  const junk = join(folder, "junk");
  writeFileSync(junk, "");
  const cases: [object, RegExp][] = [
    [{ url: "file:///etc" }, /http:\/\/host:port/],
    [{ url: `http://me:${SECRET}@localhost` }, /without user, password/],
    [{ url: `http://localhost/?key=${SECRET}` }, /without user, password or query/],
    [{ url: "http://localhost:many" }, /http:\/\/host:port/],
    [{ url: "http://h", token: `${SECRET}\r\nX: y` }, /one word/],
    [{ url: "http://h", token: SECRET, tokenFile: "a" }, /name one of them/],
    [{ url: "http://h", tokenFile: "/no/such/file" }, /no token .*\/no\/such\/file/],
    [{ url: "http://h", tokenFile: junk }, /junk: what it has is not one word/],
    [{ url: "https://h", caFile: "/no/such/file" }, /no authorities .*\/no\/such\/file/],
    [{ url: "https://h", caFile: junk }, /no authorities could be read/],
  ];
  for (const [given, said] of cases) {
    assert.throws(() => new Worker(given), (error: Error) => {
      assert.match(error.message, said);
      assert.ok(error instanceof TypeError && !error.message.includes(SECRET));
      return true;
    });
  }
});

test("the environment says it too", () => {
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, SECRET);
  const before = { ...process.env };
  try {
    process.env["GOSSAMER_URL"] = "http://h";
    process.env["GOSSAMER_TOKEN_FILE"] = tokenFile;
    const worker = new Worker();
    assert.ok(!inspect(worker, { depth: 9, showHidden: true }).includes(SECRET));
    process.env["GOSSAMER_TOKEN"] = SECRET;
    assert.throws(() => new Worker(), /name one of them/);
    assert.ok(new Worker({ token: "mine" })); // an option counts before the environment
  } finally {
    process.env = before;
  }
});
