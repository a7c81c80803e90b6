/**
 * The way to a gateway: where it is, how its door opens, and connections that are kept.
 *
 * A token is a secret. It comes from an option, from the environment or from a file, goes into one
 * header, and nowhere else: no message and no inspection of an object has it, and what a server
 * echoes is cleaned of it. A file is read anew for each request, so a token that is renewed there
 * is used at once. Redirects are not followed: they could carry the token to somebody else.
 */

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";

/** What a gateway whose door is closed wants of a worker. */
const ROLE = "work";

/** Of what a gateway says beside a status. */
const SAID_CHARACTERS_MAX = 300;

const URL_WORDS =
  "a gateway's URL is http://host:port or https://…, without user, password or query";

/**
 * Why a request has no good answer. `status`: of HTTP, 0 where there was none. `kind`: empty for
 * what may pass by itself, otherwise a name for what somebody has to mend.
 */
export class Trouble extends Error {
  override readonly name = "Trouble";

  constructor(
    message: string,
    readonly status = 0,
    readonly kind = "",
  ) {
    super(message);
  }
}

/** How a worker comes to its gateway. */
export interface Way {
  readonly url: string;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly caFile?: string | undefined;
}

/** A gateway, and what it is shown. */
export class Gateway {
  readonly place: string;
  readonly #base: URL;
  readonly #agent: http.Agent;
  readonly #token: string | undefined;
  readonly #tokenFile: string | undefined;

  /** Throws TypeError: something of it cannot be; the message says what, and has no secret. */
  constructor({ url, token, tokenFile, caFile }: Way) {
    const base = URL.canParse(url) ? new URL(url) : undefined;
    if (!base || !/^https?:\/\/[^/]/.test(url) || !["http:", "https:"].includes(base.protocol)) {
      throw new TypeError(URL_WORDS);
    }
    if (base.username || base.password || base.search || base.hash) throw new TypeError(URL_WORDS);
    if (token !== undefined && tokenFile !== undefined) {
      throw new TypeError("a token is given as such or in a file: name one of them");
    }
    this.place = `the gateway at ${url}`;
    this.#base = base;
    this.#agent =
      base.protocol === "https:" ?
        new https.Agent({ keepAlive: true, ...(caFile !== undefined && { ca: authorities(caFile) }) })
      : new http.Agent({ keepAlive: true });
    this.#token = token === undefined ? undefined : checked(token, "the token");
    this.#tokenFile = tokenFile;
    try {
      this.token();
    } catch (error) {
      throw new TypeError((error as Error).message);
    }
  }

  /** The token as it is now. Throws Trouble: its file has none. */
  token(): string | undefined {
    if (this.#tokenFile === undefined) return this.#token;
    try {
      return checked(readFileSync(this.#tokenFile, "utf8").trim(), "what it has");
    } catch (error) {
      const why = (error as Error).message;
      throw new Trouble(`no token could be read from ${this.#tokenFile}: ${why}`, 0, "token");
    }
  }

  /** The answer's JSON. Throws Trouble; after `until` was aborted, anything. */
  async post(path: string, body: string, ms: number, until?: AbortSignal): Promise<unknown> {
    const token = this.token();
    const time = AbortSignal.timeout(ms);
    const signal = until ? AbortSignal.any([time, until]) : time;
    let answer: Answer;
    try {
      answer = await this.#ask(path, body, token, signal);
    } catch (error) {
      if (time.aborted) throw new Trouble(`it did not answer within ${ms / 1_000} s`);
      throw troubleOf(error);
    }
    if (answer.status < 200 || answer.status > 299) throw refusal(answer, token);
    try {
      return answer.text ? (JSON.parse(answer.text) as unknown) : null;
    } catch {
      throw new Trouble("it answers what is not JSON; is it a gateway?");
    }
  }

  /** Ends the connections that are kept. */
  close(): void {
    this.#agent.destroy();
  }

  #ask(
    path: string, body: string, token: string | undefined, signal: AbortSignal,
  ): Promise<Answer> {
    const headers: http.OutgoingHttpHeaders = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      accept: "application/json",
    };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    const target = new URL(this.#base);
    target.pathname = this.#base.pathname.replace(/\/+$/, "") + path;
    const send = target.protocol === "https:" ? https.request : http.request;
    return new Promise((resolve, reject) => {
      const options = { method: "POST", headers, agent: this.#agent, signal };
      const request = send(target, options, (answer) => {
        const parts: Buffer[] = [];
        answer.on("data", (part: Buffer) => parts.push(part));
        answer.on("error", reject);
        answer.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ status: answer.statusCode ?? 0, words: answer.statusMessage ?? "", text });
        });
      });
      request.on("error", (error: NodeJS.ErrnoException) => {
        // A server may close an idle connection at any time. Each request here may be repeated.
        if (request.reusedSocket && error.code === "ECONNRESET" && !signal.aborted) {
          resolve(this.#ask(path, body, token, signal));
        } else {
          reject(error);
        }
      });
      request.end(body);
    });
  }
}

interface Answer {
  readonly status: number;
  readonly words: string;
  readonly text: string;
}

/** What an answer that is none means, in words for whoever runs the worker. */
function refusal({ status, words, text }: Answer, token: string | undefined): Trouble {
  const said = saidIn(text, token);
  // What is wrong with us stays so until somebody mends it; the rest may pass.
  const kind = status >= 400 && status < 500 ? String(status) : "";
  if (status === 401) {
    const what = token === undefined ? "wants a token of this worker" : "does not know this worker's token";
    const how = `give it one with the role \`${ROLE}\`, by GOSSAMER_TOKEN or GOSSAMER_TOKEN_FILE`;
    return new Trouble(`it ${what} (401): ${said}; ${how}`, status, kind);
  }
  if (status === 403) {
    const needs = `it needs the role \`${ROLE}\``;
    return new Trouble(`it does not let this worker take jobs (403): ${said}; ${needs}`, status, kind);
  }
  return new Trouble(`it answers ${status} ${words}: ${said}`, status, kind);
}

function saidIn(text: string, token: string | undefined): string {
  let said = text;
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === "string") said = detail;
  } catch {
    // it is said as it came
  }
  if (token !== undefined) said = said.replaceAll(token, "…");
  return said.replace(/\s+/g, " ").trim().slice(0, SAID_CHARACTERS_MAX);
}

function troubleOf(error: unknown): Trouble {
  // What fails at several addresses has an empty message, and the reasons within.
  const { code = "", errors } = error as { code?: string; errors?: Error[] };
  const why = (error as Error).message || (errors ?? []).map((one) => one.message).join("; ") || code;
  if (/CERT|UNABLE_TO_VERIFY/.test(code)) {
    const how = "say whose is, by `caFile` or GOSSAMER_CA_FILE";
    return new Trouble(`its certificate is not trusted (${why}); ${how}`, 0, "certificate");
  }
  if (code.startsWith("HPE_")) return new Trouble(`it does not speak HTTP: ${why}`);
  return new Trouble(`it cannot be reached (${why})`);
}

function checked(token: string, what: string): string {
  if (!/^[!-~]+$/.test(token)) {
    throw new TypeError(`${what} is not one word of visible ASCII characters`);
  }
  return token;
}

function authorities(file: string): string[] {
  try {
    const found = readFileSync(file, "utf8").match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
    if (!found) throw new TypeError("it has no certificate in PEM");
    for (const one of found) new X509Certificate(one);
    return found;
  } catch (error) {
    throw new TypeError(`no authorities could be read from ${file}: ${(error as Error).message}`);
  }
}
